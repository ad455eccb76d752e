// Everything shown comes from sources that nobody vouches for: it is set as text, never as markup.
const TOKEN = "orgraph-token";
const NEIGHBOURS = 100;
const $ = (id) => document.getElementById(id);

/** An element with its properties; children that are strings become text. */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const fragment = (name, value) => `#${new URLSearchParams({ [name]: value })}`;
const entityLink = (entity) => element("a", { href: fragment("entity", entity.id), title: entity.id }, entity.name);

const instant = (id) => ($(id).value ? new Date($(id).value).toISOString() : null);
const isPast = () => Boolean($("as-of").value || $("valid-at").value);

/** A query of the point in both times that is chosen: `AT` declares it, and each field takes `...OF`. */
const AT = "$asOf: String, $validAt: DateTime";
const OF = "asOf: $asOf, validAt: $validAt";
const queryThen = (text, variables = {}) =>
  query(text, { ...variables, asOf: instant("as-of"), validAt: instant("valid-at") });

async function query(text, variables = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: text, variables }),
  }).catch(() => {
    throw new Error(`Orgraph does not answer at ${location.origin}. Start it with: orgraph serve`);
  });
  const result = await response.json();
  if (response.status === 401 && token === sessionStorage.getItem(TOKEN)) signOut();
  if (result.errors) throw new Error(result.errors.map((error) => error.message).join("; "));
  return result.data;
}

/** Do the work; show the error if it fails. */
async function attempt(work) {
  $("error").hidden = true;
  try {
    await work();
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
}

/** Take away all that the last person saw and wrote. */
function clear() {
  for (const id of ["question", "as-of", "valid-at"]) $(id).value = "";
  for (const id of ["who", "answer", "classes", "entities-title", "entities", "entity"]) $(id).replaceChildren();
  $("more").hidden = true;
}

async function signIn(token) {
  if (!/^[\w.-]+$/.test(token)) throw new Error("That is no token; get one with: orgraph token PERSON");
  clear();
  sessionStorage.setItem(TOKEN, token);
  await showClasses();
  // The service took the token, so it can be read.
  const claims = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
  $("who").textContent = JSON.parse(new TextDecoder().decode(Uint8Array.from(claims, (c) => c.charCodeAt(0)))).sub;
  $("token").value = "";
  $("sign-in").hidden = true;
  $("signed-in").hidden = document.querySelector("main").hidden = false;
}

function signOut() {
  sessionStorage.removeItem(TOKEN);
  clear();
  $("sign-in").hidden = false;
  $("signed-in").hidden = document.querySelector("main").hidden = true;
}

/** Mark the link of a list that leads to what is shown. */
function mark(list, hash) {
  for (const one of list.querySelectorAll("a"))
    if (one.hash === hash) one.setAttribute("aria-current", "true");
    else one.removeAttribute("aria-current");
}

async function showClasses() {
  const { classes } = await queryThen(`query (${AT}) { classes(${OF}) { name label comment count } }`);
  $("classes").replaceChildren(
    ...classes.map((one) =>
      element(
        "li",
        { className: one.count ? "" : "empty", title: one.comment },
        element("a", { href: fragment("class", one.name) }, one.label),
        element("span", { className: "count" }, ` ${one.count.toLocaleString()}`),
      ),
    ),
  );
}

async function showEntities(name, after = null) {
  const { classes, entities } = await queryThen(
    `query ($name: String!, $after: String, ${AT}) {
       classes { name label }
       entities(className: $name, after: $after, ${OF}) { totalCount endCursor items { id name } } }`,
    { name, after },
  );
  const { label } = classes.find((one) => one.name === name);
  mark($("classes"), fragment("class", name));
  $("entities-title").textContent = `${label}: ${entities.totalCount.toLocaleString()}`;
  const items = entities.items.map((entity) => element("li", {}, entityLink(entity)));
  if (after) $("entities").append(...items);
  else $("entities").replaceChildren(...(items.length ? items : [element("li", { className: "quiet" }, "None that you may see.")]));
  $("more").hidden = !entities.endCursor;
  $("more").onclick = () => attempt(() => showEntities(name, entities.endCursor));
}

async function showEntity(id) {
  const asked = location.hash;
  const { entity } = await queryThen(
    `query ($id: ID!, $first: Int!, $present: Boolean!, ${AT}) { entity(id: $id, ${OF}) {
       id className name sources confidence values { name label value }
       claims @include(if: $present) { source evidence confidence }
       conflicts @include(if: $present) { label sayings { value source evidence believed } }
       neighbours(first: $first) { label entity { id name } } } }`,
    { id, first: NEIGHBOURS, present: !isPast() },
  );
  if (location.hash !== asked) return; // another was chosen meanwhile
  mark($("entities"), fragment("entity", id));
  if (!entity) {
    $("entity").replaceChildren(element("p", {}, `There is no ${id} that you may see.`));
    return;
  }
  const facts = element("dl", {});
  for (const value of entity.values)
    if (value.name !== "name") facts.append(element("dt", {}, value.label), element("dd", {}, value.value.join(", ")));
  const neighbours = Map.groupBy(entity.neighbours, (one) => one.label);
  for (const [label, ones] of neighbours) {
    const linked = element("ul", {}, ...ones.map((one) => element("li", {}, entityLink(one.entity))));
    facts.append(element("dt", {}, label), element("dd", {}, linked));
  }
  $("entity").replaceChildren(
    element("h3", {}, entity.name),
    element("p", { className: "quiet" }, `${entity.className} · ${entity.id}`),
    facts,
    sources(entity),
  );
  if (entity.neighbours.length === NEIGHBOURS)
    $("entity").append(element("p", { className: "quiet" }, `The first ${NEIGHBOURS} neighbours are shown.`));
  $("entity").scrollIntoView({ block: "nearest" });
}

/** Who says what is shown and where, and what they contradict each other in; of the past, who alone. */
function sources(entity) {
  const sure = (one) => (one.confidence < 1 ? `, confidence ${one.confidence}` : "");
  const said = element("details", {}, element("summary", { className: "quiet" }, `from ${entity.sources.join(", ")}${sure(entity)}`));
  const claims = (entity.claims ?? []).map((one) => element("li", {}, `${one.source}: ${one.evidence}${sure(one)}`));
  const conflicts = (entity.conflicts ?? []).flatMap((one) => one.sayings.map((saying) =>
    element("li", { className: "conflict" }, `${one.label}: ${saying.source} says ${saying.value} (${saying.evidence})${saying.believed ? ", which is believed" : ""}`)));
  said.append(element("ul", {}, ...claims, ...conflicts));
  said.open = conflicts.length > 0;
  return said;
}

async function showAnswer(question) {
  const button = $("ask").querySelector("button");
  button.disabled = true;
  $("answer").replaceChildren(element("p", { className: "quiet" }, "Asking…"));
  try {
    const { ask } = await queryThen(
      `query ($question: String!, ${AT}) { ask(question: $question, ${OF}) { outcome text node model notes
         facts { id title statement entities sources } placement { node permitted up reasons } } }`,
      { question },
    );
    $("answer").replaceChildren(
      element("p", { className: "outcome" }, ask.outcome.toLowerCase().replace("_", " ")),
      element("p", { className: "text" }, ask.text),
      element("ol", { className: "facts" }, ...ask.facts.map(cited)),
      ...(ask.placement.length ? [placement(ask)] : [element("p", { className: "quiet" }, "No model was asked.")]),
      ...ask.notes.map((note) => element("p", { className: "quiet" }, note)),
    );
  } catch (error) {
    $("answer").replaceChildren();
    throw error;
  } finally {
    button.disabled = false;
  }
}

function cited(fact) {
  const said = element("details", {}, element("summary", { className: "quiet" }, `${fact.id} from ${fact.sources.join(", ")}`));
  said.append(element("p", {}, fact.statement));
  return element("li", {}, entityLink({ id: fact.entities[0], name: fact.title }), said);
}

function placement(ask) {
  const rows = ask.placement.map((one) => {
    const standing = one.permitted ? (one.up ? "permitted" : "permitted, but down") : "not permitted";
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, one.node),
      element("td", {}, standing),
      element("td", {}, one.reasons.join("; ")),
    );
  });
  const where = ask.node ? `Computed on ${ask.node} (${ask.model})` : "Computed on no node";
  return element(
    "details",
    { open: true },
    element("summary", {}, `${where}; why`),
    element("table", {}, element("tbody", {}, ...rows)),
  );
}

/** The fragment says what to show. It may also bring a token: browsers send fragments to nobody. */
async function route() {
  const said = new URLSearchParams(location.hash.slice(1));
  const token = said.get("token");
  if (token) {
    history.replaceState(null, "", location.pathname);
    await signIn(token);
  }
  if (!sessionStorage.getItem(TOKEN)) return;
  if (said.has("class")) await showEntities(said.get("class"));
  if (said.has("entity")) await showEntity(said.get("entity"));
}

$("sign-in").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    await signIn($("token").value.trim());
    await route();
  });
};
$("sign-out").onclick = () => {
  signOut();
  $("token").focus();
};
$("ask").onsubmit = (event) => {
  event.preventDefault();
  attempt(() => showAnswer($("question").value));
};
const showThen = () => attempt(async () => {
  $("answer").replaceChildren();
  await showClasses();
  await route();
});
$("when").onchange = showThen;
$("when").onreset = () => setTimeout(showThen); // the fields are empty once the event is over
$("when").onsubmit = (event) => event.preventDefault();
addEventListener("hashchange", () => attempt(route));
attempt(async () => {
  const kept = sessionStorage.getItem(TOKEN);
  if (kept && !location.hash.startsWith("#token=")) await signIn(kept);
  await route();
});
