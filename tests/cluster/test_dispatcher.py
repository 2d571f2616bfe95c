"""The dispatcher against a transport that answers before `send` has returned."""

from collections import deque

from promises import Echo, Tally

from livn_ipp.cluster import wire
from livn_ipp.cluster.dispatcher import CallSpec, Dispatcher
from livn_ipp.cluster.worker import Worker
from livn_ipp.env.factory import BackendFactory


class Immediate:
    """Carries parcels out at once, in the sender's thread, in the order of sending."""

    name = "immediate"

    def start(self, factory, listener):
        self.workers = [Worker(factory, factory.prepare(None, 1)) for _ in range(2)]
        self.received = [deque(), deque()]
        self.listener = listener
        for worker in self.workers:
            assert not worker.build()
        return (0, 1)

    def send(self, worker, parcel, items):
        self.received[worker].append(parcel)
        answers = self.workers[worker].serve(list(items))
        self.listener.replied(worker, wire.Reply(parcel, answers))

    def help(self, future, timeout):
        pass

    def stop_call(self, worker, call):
        pass

    def close(self):
        pass


def test_an_answer_may_arrive_before_send_returns():
    transport = Immediate()
    dispatcher = Dispatcher(transport)
    dispatcher.start(BackendFactory(Tally, "x"))
    content = wire.dumps((Echo(), None))
    calls = [CallSpec(n, wire.dumps(n)) for n in range(200)]
    futures = dispatcher.submit("echo", content, calls)
    futures += dispatcher.submit("echo", content, calls)
    assert [future.result(5) for future in futures] == [*range(200), *range(200)]
    for received in transport.received:
        assert list(received) == sorted(received)
    dispatcher.close()


def test_a_callback_may_submit_again():
    dispatcher = Dispatcher(Immediate())
    dispatcher.start(BackendFactory(Tally, "x"))
    content = wire.dumps((Echo(), None))
    followed = []

    def again(future):
        if future.result() < 5:
            spec = CallSpec(0, wire.dumps(future.result() + 1))
            (following,) = dispatcher.submit("echo", content, [spec])
            followed.append(following)
            following.add_done_callback(again)

    (first,) = dispatcher.submit("echo", content, [CallSpec(0, wire.dumps(0))])
    first.add_done_callback(again)
    assert [future.result(5) for future in followed] == [1, 2, 3, 4, 5]
    dispatcher.close()
