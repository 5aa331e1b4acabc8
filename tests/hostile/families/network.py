"""Programs that want to talk to somebody."""

from hostile.case import ROUTER_PORT, Case


def alone(name: str, *attempts: str, by: str, way: str = "reach") -> Case:
    """Make a case of attempts to reach something, all of which end in the same errno."""
    lines = [f"{way} {attempt}" for attempt in attempts]
    return Case(name, "\n".join([*lines, "pass"]), says=(f"(?s)\\A(\\w+: {by}\n){{{len(lines)}}}",))


UNREACHABLE, REFUSED = "ENETUNREACH", "ECONNREFUSED"

CASES = (
    alone("the metadata service", "tcp 169.254.169.254 80", by=UNREACHABLE),
    alone("the private network", "tcp 10.0.0.1 22", "udp 192.168.0.1 53", by=UNREACHABLE),
    alone("the world", "tcp 1.1.1.1 443", "udp 8.8.8.8 53", by=UNREACHABLE),
    alone("a multicast group", "udp 224.0.0.1 5353", by=UNREACHABLE),
    alone("the router", f"tcp 127.0.0.1 {ROUTER_PORT}", f"tcp 0.0.0.0 {ROUTER_PORT}", by=REFUSED),
    alone(
        "the host's loopback",
        *(f"tcp 127.0.0.1 {port}" for port in (22, 80, 443, 2375, 5555, 5556, 6443, 10250)),
        by=REFUSED,
    ),
    alone(
        "sockets of the system's",
        "path /run/docker.sock",
        "path /run/containerd/containerd.sock",
        "path /run/dbus/system_bus_socket",
        "path /run/systemd/private",
        by="ENOENT",
    ),
    alone("raw sockets", "2 3 1", "2 3 255", "10 3 58", by="EPERM", way="call socket"),
    Case(
        "names",
        "nslookup example.org; nslookup router; pass tried",
        says=("(?i)can't|unreachable|refused|timed out",),
    ),
    Case(
        "interfaces",
        "ls /sys/class/net; tail -n +3 /proc/net/dev | wc -l\n"
        "ip link add x type dummy && echo got through\n"
        "ip link set lo down && echo got through\n"
        "ip route add default via 127.0.0.1 && echo got through\n"
        "ip addr add 169.254.169.254/32 dev lo && echo got through; pass",
        says=("^lo\n1\n", "(?i)not permitted", "(?i)not supported by protocol"),
    ),
    Case(
        "itself, which it may",
        "echo hello | nc -l -p 8080 127.0.0.1 > /dev/null &\n"
        "until reach tcp 127.0.0.1 8080 | grep got; do sleep 0.02; done; pass heard",
        says=("^heard$",),
        hides=(),
    ),
)
