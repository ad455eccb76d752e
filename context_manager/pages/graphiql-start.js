// The token comes in the fragment, which browsers send to nobody, or from the page that was open before.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("orgraph-token", given);
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("orgraph-token");

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    // What stands in the editor of headers goes before these.
    fetcher: GraphiQL.createFetcher({ url: "/graphql", headers: token ? { Authorization: `Bearer ${token}` } : {} }),
    defaultQuery: `# You ask as the person who is signed in at /. To ask as another,
# set a header: { "Authorization": "Bearer TOKEN" }
{
  classes { name count }
}
`,
  }),
);
