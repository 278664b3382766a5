"""A network of one's own in which an address can stop answering: no reset, no refusal, nothing.

It needs root, `unshare`, `nsenter` and `ip`; firewalls are not needed. The address
of the server belongs to one end of a cable that leads nowhere. Once the address
is taken away, packets to it go down the cable and are lost.
"""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SERVER: Final = "192.0.2.1"
NOBODY: Final = "192.0.2.9"
_CLONE_NEWNET: Final = 0x40000000
_MADE: Final = f"""
ip link set lo up
ip link add cable type veth peer name end
ip link set cable up
ip link set end up
ip address add 192.0.2.2/24 dev cable
ip address add {SERVER}/24 dev cable
ip neighbour replace {NOBODY} lladdr 02:00:00:00:00:09 nud permanent dev cable
"""
_TAKE_AWAY: Final = f"""
ip address del {SERVER}/24 dev cable
ip neighbour replace {SERVER} lladdr 02:00:00:00:00:01 nud permanent dev cable
"""
_GIVE_BACK: Final = f"ip address add {SERVER}/24 dev cable"


class Network:
    """The network of one process that only waits."""

    def __init__(self) -> None:
        """Raises OSError where this machine does not allow it."""
        for tool in ("unshare", "nsenter", "ip"):
            if shutil.which(tool) is None:
                raise OSError(f"there is no {tool} here")
        self._keeper = subprocess.Popen(
            ["unshare", "-n", "sh", "-ec", f"{_MADE}\necho up\nexec sleep 600"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "up\n":
            _, said = self._keeper.communicate()
            raise OSError(said.strip())

    @property
    def process(self) -> int:
        """The process whose network this is."""
        return self._keeper.pid

    @property
    def inside(self) -> tuple[str, ...]:
        """What to put before a command that shall run in here."""
        return ("nsenter", "-t", str(self.process), "-n")

    def take_away(self) -> None:
        """From here on nothing comes back from the server."""
        self._do(_TAKE_AWAY)

    def give_back(self) -> None:
        """The server can be reached again."""
        self._do(_GIVE_BACK)

    def _do(self, script: str) -> None:
        subprocess.run([*self.inside, "sh", "-ec", script], check=True)

    def close(self) -> None:
        """End it, with all in it."""
        with self._keeper:
            self._keeper.kill()


def enter_network(process: int) -> None:
    """Put this thread, and no other, into the network of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{process}/ns/net").open() as network:
        if libc.setns(network.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
