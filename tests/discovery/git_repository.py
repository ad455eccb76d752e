"""Small git repositories for tests."""

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        input=stdin,
    )
    return done.stdout.decode().strip()


def commit(folder: Path, files: dict[str, str | bytes | None]) -> str:
    """Write the files, None removing one, and commit; the repository is made if there is none."""
    if not (folder / ".git").exists():
        folder.mkdir(exist_ok=True)
        git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    return git(folder, "rev-parse", "HEAD")
