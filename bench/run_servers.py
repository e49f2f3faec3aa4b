"""Starting, asking and stopping the servers that are compared.

Owns: one class per kind of server, pinned to a core; a tiny client for what
the load generator does not do (statistics, waiting for a copy to end).
Must not know: what is measured.
"""
import mmap
import os
import socket
import subprocess
import time

HOST = "127.0.0.1"
START_SECONDS_MAX = 10
# A new peer opens its port when it has copied everything.
COPY_SECONDS_MAX = 60
CONNECTIONS = "16000"
# A server that waited for its core longer than this part of the time did not
# have it for itself.
DISTURBED_PART = 0.02


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def warm_memory(mib):
    """Use so much memory and give it back. On a virtual machine the host may hand out
    memory page by page at first use, which costs a server more than its own work: what
    is measured afterwards finds pages that the machine has already."""
    with mmap.mmap(-1, mib << 20) as memory:
        memory[::mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)


ANYWHERE = None  # in place of a core


def pinned(settings, core, argv):
    """The runner keeps off the server's core, and what it starts inherits that, so
    that a process that may run anywhere must be told so."""
    where = settings.all_cores if core is ANYWHERE else core
    return argv if where is None else ["taskset", "-c", str(where)] + argv


class Server:
    """A process that listens on a port. Use as a context manager."""

    name = "?"
    single = True  # one thread: it never waits for its core because of itself
    protocol = "text"
    checks_values = True
    udp_port = None
    start_seconds_max = START_SECONDS_MAX

    def __init__(self, settings, core):
        self.settings = settings
        self.core = core
        self.port = free_port()
        self.process = None

    def argv(self):
        raise NotImplementedError

    def __enter__(self):
        log = open(os.path.join(self.settings.out, "servers.log"), "ab")
        self.process = subprocess.Popen(pinned(self.settings, self.core, self.argv()),
                                        stdout=log, stderr=log)
        log.close()
        self.wait_for_port()
        return self

    def __exit__(self, *unused):
        """Nothing is measured of how it ends, and memcached takes half a second to."""
        self.process.kill()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def wait_for_port(self):
        end = time.monotonic() + self.start_seconds_max
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError("%s ended with status %d, see servers.log"
                                   % (self.name, self.process.returncode))
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError("%s does not listen" % self.name)

    def ask_stats(self, argument=""):
        with socket.create_connection((HOST, self.port), timeout=5) as s:
            s.sendall(b"stats" + argument.encode() + b"\r\n")
            data = b""
            while not data.endswith((b"END\r\n", b"ERROR\r\n")):
                piece = s.recv(65536)
                if not piece:
                    break
                data += piece
        lines = [line.split(None, 2) for line in data.decode().splitlines()]
        return {f[1]: f[2] for f in lines if len(f) == 3 and f[0] == "STAT"}


def user_option():
    return ["-u", "root"] if os.getuid() == 0 else []

def item_option(memory):
    """Items of 128 MB where there is room for them."""
    return ["-I", "128m"] if memory >= 512 else []


class Ours(Server):
    """The daemon of this tree; `extra` for the replication options."""

    name = "this"

    def __init__(self, settings, core, memory=1024, extra=()):
        super().__init__(settings, core)
        self.memory = memory
        self.extra = list(extra)

    def argv(self):
        return [self.settings.daemon, "-l", HOST, "-p", str(self.port), "-m", str(self.memory),
                "-c", CONNECTIONS] + item_option(self.memory) + user_option() + self.extra


class Rival(Server):
    """The distribution's memcached."""

    threads = 1
    single = False

    def __init__(self, settings, core, memory=1024):
        super().__init__(settings, core)
        self.memory = memory

    def argv(self):
        return [self.settings.rival, "-l", HOST, "-p", str(self.port), "-U", "0", "-m",
                str(self.memory), "-c", CONNECTIONS, "-t", str(self.threads)] + \
            item_option(self.memory) + user_option()


class Rival1(Rival):
    name = "mc-t1"


class OursUdp(Ours):
    def argv(self):
        self.udp_port = self.port
        return super().argv() + ["-U", str(self.udp_port)]


class Rival1Udp(Rival1):
    def argv(self):
        self.udp_port = self.port
        return super().argv() + ["-U", str(self.udp_port)]


class Rival2(Rival):
    name = "mc-t2"
    threads = 2


class Redis(Server):
    name = "redis"
    single = False
    protocol = "resp"

    def __init__(self, settings, core, memory=1024):
        super().__init__(settings, core)
        self.memory = memory

    def argv(self):
        return [self.settings.redis, "--port", str(self.port), "--bind", HOST, "--save", "",
                "--appendonly", "no", "--maxmemory", "%dmb" % self.memory,
                "--maxmemory-policy", "allkeys-lru"]


class Echo(Server):
    name = "echo"
    checks_values = False

    def __init__(self, settings, core, memory=0, value_size=100):
        super().__init__(settings, core)
        self.value_size = value_size

    def argv(self):
        return [os.path.join(self.settings.tools, "echo"), str(self.port), str(self.value_size)]


KINDS = {k.name: k for k in (Ours, Rival1, Rival2, Redis, Echo)}


def parse_result(output):
    """The key=value pairs of the line that begins with "result"."""
    for line in output.splitlines():
        if line.startswith("result "):
            pairs = (word.split("=", 1) for word in line.split()[1:])
            return {k: number(v) for k, v in pairs}
    raise RuntimeError("no result in: " + output)


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


class Tool:
    """One of our load programs, started on the load core."""

    def __init__(self, settings, name, options, stdin=None, urgent=False, anywhere=False,
                 nice=0):
        argv = [os.path.join(settings.tools, name)]
        for key, value in options.items():
            if value is True:
                argv.append("--" + key)
            elif value is not None and value is not False:
                argv += ["--" + key, str(value)]
        if urgent and settings.can_be_urgent:
            argv = ["chrt", "-f", "10"] + argv
        if nice:
            argv = ["nice", "-n", str(nice)] + argv
        self.argv = pinned(settings, ANYWHERE if anywhere else settings.load_core, argv)
        self.process = subprocess.Popen(self.argv, stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def result(self):
        out, err = self.process.communicate()
        if self.process.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(self.argv), err.strip() or out.strip()))
        return parse_result(out)


def load(settings, server, **options):
    """Run the load generator to its end, and note whether others took the
    server's processor meanwhile."""
    result = start_load(settings, server, **options).result()
    seconds = result.get("seconds", 0)
    if seconds and server.single and server.core is not ANYWHERE:
        settings.disturbed += result["server_wait_s"] > DISTURBED_PART * seconds
        settings.measurements += 1
    return result


def start_load(settings, server, urgent=False, anywhere=False, nice=0, protocol=None, **options):
    """Underscores for hyphens in the names of options."""
    options = {k.replace("_", "-"): v for k, v in options.items()}
    options.update({"host": HOST, "port": server.port, "server-pid": server.pid,
                    "protocol": protocol or server.protocol, "quiet": True,
                    "udp": server.udp_port,
                    "unchecked": not server.checks_values})
    return Tool(settings, "load", options, urgent=urgent, anywhere=anywhere, nice=nice)
