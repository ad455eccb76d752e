// Everything shown is text from the graph, set as text: never as markup.
const $ = (id) => document.getElementById(id);

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  return Object.assign(made, attributes);
}

async function query(text, variables = {}) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${sessionStorage.getItem("orgraph-token")}` },
    body: JSON.stringify({ query: text, variables }),
  });
  const result = await response.json();
  if (result.errors) throw new Error(result.errors.map((error) => error.message).join("; "));
  return result.data;
}

async function attempt(work) {
  $("error").hidden = true;
  try {
    await work();
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
}

async function showClasses() {
  const { classes } = await query("{ classes { name label comment count } }");
  $("classes").replaceChildren(
    ...classes.map((one) => {
      const item = element("li", "");
      const button = element("button", one.label, { className: "link", title: one.comment });
      button.onclick = () => attempt(() => showEntities(one));
      item.append(button, element("span", ` ${one.count}`, { className: "count" }));
      return item;
    }),
  );
  document.querySelector("main").hidden = false;
}

async function showEntities(one, after = null) {
  const { entities } = await query(
    "query ($name: String!, $after: String) { entities(className: $name, after: $after) { totalCount endCursor items { id name } } }",
    { name: one.name, after },
  );
  $("entities-title").textContent = `${one.label} (${entities.totalCount})`;
  if (!after) $("entities").replaceChildren();
  $("entities").append(
    ...entities.items.map((entity) => {
      const item = element("li", "");
      item.append(entityButton(entity));
      return item;
    }),
  );
  $("more").hidden = !entities.endCursor;
  $("more").onclick = () => attempt(() => showEntities(one, entities.endCursor));
}

function entityButton(entity) {
  const button = element("button", entity.name, { className: "link", title: entity.id });
  button.onclick = () => attempt(() => showEntity(entity.id));
  return button;
}

async function showEntity(id) {
  const { entity } = await query(
    `query ($id: ID!) { entity(id: $id) { id className name sources values { label value }
       neighbours { label entity { id name className } } } }`,
    { id },
  );
  const values = element("dl", "");
  for (const value of entity.values) values.append(element("dt", value.label), element("dd", value.value.join(", ")));
  const neighbours = element("ul", "");
  for (const one of entity.neighbours) {
    const item = element("li", "");
    item.append(element("span", `${one.label} `, { className: "quiet" }), entityButton(one.entity));
    neighbours.append(item);
  }
  $("entity").replaceChildren(
    element("h3", entity.name),
    element("p", `${entity.className} · ${entity.id} · from ${entity.sources.join(", ")}`, { className: "quiet" }),
    values,
    neighbours,
  );
}

async function showAnswer(question) {
  $("answer").replaceChildren(element("p", "Asking…", { className: "quiet" }));
  const { ask } = await query(
    `query ($question: String!) { ask(question: $question) { outcome text node notes
       facts { id title statement sources } placement { node permitted up reasons } } }`,
    { question },
  );
  const facts = element("ol", "");
  for (const fact of ask.facts) {
    const item = element("li", "", { className: "quiet" });
    item.append(element("span", `${fact.title}: ${fact.statement.slice(0, 300)} `), element("code", fact.id));
    facts.append(item);
  }
  const where = element("details", "");
  where.append(element("summary", ask.node ? `Answered on ${ask.node}` : "No model was used"));
  for (const verdict of ask.placement)
    where.append(element("p", `${verdict.permitted ? (verdict.up ? "✓" : "down") : "✗"} ${verdict.node}: ${verdict.reasons.join(", ")}`, { className: "quiet" }));
  $("answer").replaceChildren(
    element("p", ask.text, { className: "text" }),
    ...ask.notes.map((note) => element("p", note, { className: "quiet" })),
    facts,
    where,
  );
}

function signIn(token) {
  sessionStorage.setItem("orgraph-token", token);
  const payload = token.split(".")[1] || "";
  $("who").textContent = `as ${JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))).sub}`;
  return showClasses();
}

$("sign-in").onsubmit = (event) => {
  event.preventDefault();
  attempt(() => signIn($("token").value.trim()));
};
$("ask").onsubmit = (event) => {
  event.preventDefault();
  attempt(() => showAnswer($("question").value));
};

// The token may come in the fragment, which browsers send to nobody.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) history.replaceState(null, "", location.pathname);
const token = given || sessionStorage.getItem("orgraph-token");
if (token) attempt(() => signIn(token));
