"""GitHub organizations and RBAC manifests by their mapping files alone."""

from collections import Counter
from pathlib import Path

import pytest

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
- kind: RoleBinding
  metadata: {name: cluster, namespace: claims}
  subjects: [{kind: User, name: eve}]
  roleRef: {kind: ClusterRole, name: admin}
- kind: ConfigMap
  metadata: {name: other, namespace: claims}
"""


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


def test_a_manifest_that_is_no_mapping_is_a_problem_and_the_rest_is_read(read):
    said = read(
        RBAC + "- [no, manifest]\n- kind: Role\n  metadata: {name: x, namespace: claims}\n  rules: 7\n"
    )
    assert len(said.problems) >= 2
    assert "group:rbac/claims/viewer" in said.entities
