"""GitHub organizations and RBAC manifests by their mapping files alone."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from discovery.sources import load_organization

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
RBAC = """\
apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: viewer, namespace: claims}
  rules:
  - {apiGroups: [""], resources: [pods, secrets], verbs: [get, list, watch]}
- kind: Role
  metadata: {name: owner, namespace: claims}
  rules:
  - {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}
- kind: RoleBinding
  metadata: {name: nurses-view, namespace: claims}
  subjects:
  - {kind: User, name: ada}
  - {kind: Group, name: nurses}
  - {kind: ServiceAccount, name: robot}
  roleRef: {kind: Role, name: viewer}
- kind: ConfigMap
  metadata: {name: other, namespace: claims}
"""
CLUSTER = (
    RBAC
    + """\
- kind: ClusterRole
  metadata: {name: view}
  rules:
  - {apiGroups: [""], resources: [pods], verbs: [get, list]}
- kind: ClusterRole
  metadata: {name: cluster-admin}
  rules:
  - {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}
- kind: ClusterRoleBinding
  metadata: {name: roots}
  subjects:
  - {kind: User, name: eve}
  - {kind: Group, name: roots}
  roleRef: {kind: ClusterRole, name: cluster-admin}
- kind: RoleBinding
  metadata: {name: interns-view, namespace: billing}
  subjects:
  - {kind: User, name: bob}
  - {kind: Group, name: interns}
  roleRef: {kind: ClusterRole, name: view}
- kind: RoleBinding
  metadata: {name: editors, namespace: billing}
  subjects: [{kind: User, name: ada}]
  roleRef: {kind: ClusterRole, name: edit}
"""
)


def test_members_teams_within_teams_and_permissions_of_whole_organizations(
    shared_data, monkeypatch, crawl_source
):
    monkeypatch.setenv("ORGRAPH_SHARED_DATA", str(shared_data))
    organization = load_organization(DEPLOY / "sources.toml")
    said = crawl_source(organization, organization.source[0])
    assert said.problems == []
    counts = Counter(claim.class_name for claim in said.entities.values())
    assert (counts["Person"], counts["Organization"], counts["Group"]) == (1509, 8, 774)
    assert len(said.typed("SUBGROUP_OF")) == 56
    admin = ("group:kubernetes-sigs/descheduler-admins", "repository:kubernetes-sigs/descheduler")
    assert admin in said.typed("ADMINISTERS")
    assert admin[1] in said.entities
    assert ("person:nikhita", "group:kubernetes-sigs") in said.typed("MEMBER_OF")
    teams = said.typed("MAY_WRITE") | said.typed("MAY_READ") | said.typed("ADMINISTERS")
    assert {end for _, end in teams if end.startswith("repository:")} <= said.entities.keys()


@pytest.fixture
def read(say, tmp_path):
    def go(text):
        (tmp_path / "rbac.yaml").write_text(text)
        return say(tmp_path, "mapping", {"path": "rbac.yaml", "mapping": str(DEPLOY / "rbac.toml")})

    return go


def test_a_role_is_a_group_that_may_what_its_verbs_say(read):
    said = read(RBAC)
    assert said.problems == []
    claims, viewer, owner = "dataset:rbac/claims", "group:rbac/claims/viewer", "group:rbac/claims/owner"
    assert said.typed("MAY_READ") == {(viewer, claims), (owner, claims)}
    assert said.typed("MAY_WRITE") == {(owner, claims)}
    assert said.typed("MEMBER_OF") == {("person:ada", viewer)}
    assert said.typed("SUBGROUP_OF") == {("group:rbac/nurses", viewer)}
    assert {viewer, owner, claims, "group:rbac/nurses"} == set(said.entities)


def test_a_cluster_role_reaches_the_cluster_or_the_namespace_that_it_is_bound_in(read):
    said = read(CLUSTER)
    assert said.problems == []
    whole, billing = "dataset:rbac/cluster", "dataset:rbac/billing"
    view, edit = "group:rbac/billing/cluster/view", "group:rbac/billing/cluster/edit"
    root = "group:rbac/cluster/cluster-admin"
    of_cluster = {one for one in said.typed("MAY_READ") | said.typed("MAY_WRITE") if "claims" not in one[1]}
    assert of_cluster == {
        *((group, whole) for group in (root, "group:rbac/cluster/view")),
        *((group, billing) for group in (view, edit)),
    }
    assert {one for one in said.typed("MAY_WRITE") if "claims" not in one[1]} == {
        (root, whole),
        (edit, billing),
    }
    assert said.typed("MEMBER_OF") >= {("person:eve", root), ("person:bob", view), ("person:ada", edit)}
    assert ("group:rbac/roots", root) in said.typed("SUBGROUP_OF")
    assert ("group:rbac/interns", view) in said.typed("SUBGROUP_OF")
    assert (view, "group:rbac/cluster/view") in said.typed("DERIVED_FROM")
    assert {whole, billing, view, edit, root} <= said.entities.keys()


def written(text: str, *, apart: bool) -> str:
    """The items of a list as manifests are written: documents of one file, an empty one after the last."""
    items = yaml.safe_load(text)["items"]
    half = {"apiVersion": "v1", "kind": "List", "items": items[:3]}
    documents = items if apart else [half, *items[3:]]
    return "---\n".join(["# manifests\n", *(yaml.safe_dump(one) for one in documents), "\n"])


@pytest.mark.parametrize("apart", [True, False])
def test_manifests_are_read_as_they_are_written(read, apart):
    """One document each, with or without a list among them: as the list of all."""
    as_list, as_written = read(CLUSTER), read(written(CLUSTER, apart=apart))
    assert as_written.problems == as_list.problems == []
    assert as_written.relationships == as_list.relationships
    assert {id_: one.values for id_, one in as_written.entities.items()} == {
        id_: one.values for id_, one in as_list.entities.items()
    }


def test_one_manifest_alone_is_read(read):
    [role] = [one for one in yaml.safe_load(RBAC)["items"] if one["metadata"]["name"] == "viewer"]
    said = read(yaml.safe_dump(role))
    assert (said.problems, set(said.entities)) == ([], {"group:rbac/claims/viewer", "dataset:rbac/claims"})


def test_a_list_that_is_none_is_a_problem(read):
    [problem] = read("kind: List\nitems: 7\n").problems
    assert "expected a list under 'items' of document 1, found int" in problem.message


def test_a_manifest_that_is_no_mapping_is_a_problem_and_the_rest_is_read(read):
    said = read(
        RBAC + "- [no, manifest]\n- kind: Role\n  metadata: {name: x, namespace: claims}\n  rules: 7\n"
    )
    assert len(said.problems) >= 2
    assert "group:rbac/claims/viewer" in said.entities
