"""The steps that scenarios are made of. Each checks what it did."""

from suite.measure import Window
from suite.processes import expect

# Tickets live for 60 s at most, and the table of those that are not presented yet
# is the broker's memory, too: they are made when they are needed.
CHUNK = 2000


def check_calls(answer, count=None):
    expect(answer["failed"] == 0, f"{answer['failed']} calls failed: {answer['error']}")
    expect(count is None or answer["done"] == count, f"{answer['done']} of {count} calls were made")
    return answer


def check_load(answer, messages=None, closed=0):
    """What bench_load says: nothing damaged, nothing missing, nobody lost."""
    expect(answer["faults"] == 0,
           f"{answer['faults']} faults in what the clients got, the first: {answer['first_fault']}")
    expect(closed is None or answer["closes"] == closed,
           f"{answer['closes']} clients were closed, not {closed}: {answer['codes']}")
    expect(messages is None or answer["messages"] == messages,
           f"{answer['messages']} of {messages} messages came")
    return answer


def check_open(answer, count):
    expect(answer["all"] and answer["open"] == count,
           f"{answer['open']} of {count} clients are connected, refused: {answer['refusals']}")


def chunks(count, size=CHUNK):
    return [(first, min(size, count - first)) for first in range(0, count, size)]


def mint(stage, call, first, count, leavers=0, namespace="raw"):
    file = stage.ticket_file()
    check_calls(call.ask(f"mint count={count} from={first} leavers={leavers} flight=32 "
                         f"namespace={namespace} file={file}"), count)
    return file


def connect(load, server, count, tickets=None, path="/raw", options=""):
    """`count` more clients."""
    text = f"connect port={server.port} path={path} count={count} {options}"
    return load.ask(text + (f" tickets={tickets}" if tickets else ""))


def fill(stage, server, load, call, count, leavers=0, path="/raw", namespace="raw"):
    """Connects `count` clients with an identity each, to a load that has none yet."""
    for first, size in chunks(count):
        tickets = mint(stage, call, first, size, leavers, namespace)
        check_open(connect(load, server, size, tickets, path), first + size)


def fill_floor(server, load, count):
    for first, size in chunks(count):
        check_open(connect(load, server, size), first + size)


def deliver(stage, server, load, messages, send, expected="all"):
    """Lets `send()` make that many messages reach clients, and waits until they have.

    Returns the window, from before the first call to after the last message, and
    what the load says."""
    load.ask(f"reset expect={expected}")
    with Window(stage, server) as window:
        load.tell(f"await messages={messages} limit=60")
        send()
        answer = load.answer(90)
    return window, check_load(answer, messages)
