"""Settings come from the environment before orgraph.toml before the defaults, and say so."""

from pathlib import Path

import pytest

from context_manager.settings import SettingsError, describe, load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_the_file_over_the_default(elsewhere, monkeypatch) -> None:
    (elsewhere / "orgraph.toml").write_text('port = 9000\nhost = "127.0.0.2"\n')
    monkeypatch.setenv("ORGRAPH_PORT", "9001")
    settings = load_settings()
    assert (settings.port, settings.host, settings.vllm) == (9001, "127.0.0.2", True)
    origins = {name: (value, origin) for name, value, origin in describe(settings)}
    assert origins["port"] == ("9001", "environment ORGRAPH_PORT")
    assert origins["host"] == ("127.0.0.2", "orgraph.toml")
    assert origins["vllm"] == ("True", "default")


def test_a_wrong_value_names_the_setting_and_where_it_came_from(monkeypatch) -> None:
    monkeypatch.setenv("ORGRAPH_PORT", "eighty")
    with pytest.raises(SettingsError, match=r"environment ORGRAPH_PORT: port: .*integer"):
        load_settings()


def test_an_unknown_setting_is_refused_wherever_it_stands(elsewhere, monkeypatch) -> None:
    monkeypatch.setenv("ORGRAPH_PROT", "9000")
    with pytest.raises(SettingsError, match=r"no setting ORGRAPH_PROT.*ORGRAPH_PORT"):
        load_settings()
    monkeypatch.delenv("ORGRAPH_PROT")
    (elsewhere / "orgraph.toml").write_text("prot = 9000\n")
    with pytest.raises(SettingsError, match=r"orgraph\.toml: prot"):
        load_settings()


def test_a_file_that_is_not_toml_is_named(elsewhere) -> None:
    (elsewhere / "orgraph.toml").write_text("port = = 1")
    with pytest.raises(SettingsError, match=r"orgraph\.toml: expected TOML"):
        load_settings()


@pytest.mark.parametrize("url", ["http://login.example/keys", "file:///etc/passwd", "https://", "keys"])
def test_keys_that_others_could_change_on_the_way_are_not_fetched(monkeypatch, url: str) -> None:
    monkeypatch.setenv("ORGRAPH_OIDC_JWKS_URL", url)
    with pytest.raises(SettingsError, match=r"oidc_jwks_url: .*expected https://"):
        load_settings()


@pytest.mark.parametrize("url", ["https://login.example/keys", "http://127.0.0.1:8081/keys"])
def test_keys_come_over_https_or_from_this_machine(monkeypatch, url: str) -> None:
    monkeypatch.setenv("ORGRAPH_OIDC_JWKS_URL", url)
    assert load_settings().oidc_jwks_url == url
