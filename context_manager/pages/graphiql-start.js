// The token comes in the fragment, which browsers send to nobody, or from the page that was open before.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("orgraph-token", given);
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("orgraph-token") || "TOKEN";

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: "/graphql" }),
    defaultEditorToolsVisibility: "headers",
    initialHeaders: JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2),
    defaultQuery: `# Who asks is in the headers below (orgraph token PERSON).
{
  classes { name count }
}
`,
  })
);
