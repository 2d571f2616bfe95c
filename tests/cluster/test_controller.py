"""The controller, event by event."""

import pytest
from controlled import NOTHING, refusal, request

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import events as c
from livn_ipp.cluster.control.controller import Controller
from livn_ipp.errors import (
    CallTimeout,
    ClusterLost,
    ConfigError,
    SessionLost,
    WorkerLost,
)


def joined(count: int) -> Controller:
    controller = Controller()
    for index in range(count):
        controller.handle(c.WorkerJoined(index))
    return controller


def sends(instructions: list[c.Instruction]) -> list[c.Send]:
    return [i for i in instructions if isinstance(i, c.Send)]


def test_a_pipeline_travels_once_to_each_worker() -> None:
    controller = joined(2)
    content = wire.dumps(b"x" * 100_000)
    for number in range(1, 7):
        (send,) = sends(
            controller.handle(c.CallsSubmitted((request(number),), content))
        )
        installs = [i for i in send.items if isinstance(i, wire.Install)]
        assert len(installs) == (1 if number <= 2 else 0)
        if number % 2 == 0:  # both workers are busy now; let them finish
            for worker, parcel in ((0, number - 2), (1, number - 1)):
                reply = wire.Reply(parcel, (wire.Done(NOTHING, 1.0),))
                controller.handle(c.ReplyArrived(worker, reply))


def test_short_calls_share_a_parcel_and_long_ones_do_not() -> None:
    many = tuple(request(n) for n in range(2, 1002))
    for seconds, parcels, shortest in ((0.0001, 2, 100), (2.0, 1, 1)):
        controller = joined(1)
        controller.handle(c.CallsSubmitted((request(1),), NOTHING))
        done = wire.Reply(0, (wire.Done(NOTHING, seconds),))
        controller.handle(c.ReplyArrived(0, done))
        sent = sends(controller.handle(c.CallsSubmitted(many, NOTHING)))
        assert len(sent) == parcels
        assert all(len(send.items) >= shortest for send in sent)
        assert seconds < 1 or len(sent[0].items) == 1


def test_a_worker_whose_answers_come_out_of_turn_is_replaced() -> None:
    controller = joined(1)
    controller.handle(c.CallsSubmitted((request(1),), NOTHING))
    done = wire.Done(NOTHING, 0.0001)
    controller.handle(c.ReplyArrived(0, wire.Reply(0, (done,))))
    many = tuple(request(n) for n in range(2, 1002))
    first, second = sends(controller.handle(c.CallsSubmitted(many, NOTHING)))
    answers = (done,) * len(second.items)
    late = wire.Reply(0, (done,))
    assert controller.handle(c.ReplyArrived(0, late)) == []
    out = controller.handle(c.ReplyArrived(0, wire.Reply(second.parcel, answers)))
    assert [type(each) for each in out] == [c.Replace]
    assert "out of turn" in out[0].reason
    assert controller.unfinished == 1000
    assert controller.handle(c.ReplyArrived(0, wire.Reply(first.parcel, ()))) == []
    (again, *_) = sends(controller.handle(c.WorkerJoined(0)))
    assert any(isinstance(item, wire.Call) for item in again.items)


def test_a_poison_call_ends_as_worker_lost_with_its_history() -> None:
    controller = joined(5)
    out = controller.handle(c.CallsSubmitted((request(1),), NOTHING))
    for _ in range(4):
        (send,) = sends(out)
        out = controller.handle(c.WorkerGone(send.worker, "segmentation fault"))
    (reject,) = [i for i in out if isinstance(i, c.Reject)]
    assert isinstance(reject.error, WorkerLost)
    assert str(reject.error).count("segmentation fault") == 4
    assert controller.workers


def test_a_call_may_bring_its_own_number_of_retries() -> None:
    for retries in (0, 1, 5):
        controller = joined(9)
        poison = request(1, retries=retries)
        out = controller.handle(c.CallsSubmitted((poison,), NOTHING))
        for _ in range(retries + 1):
            (send,) = sends(out)
            out = controller.handle(c.WorkerGone(send.worker, "segmentation fault"))
        (reject,) = [i for i in out if isinstance(i, c.Reject)]
        assert str(reject.error).count("segmentation fault") == retries + 1


def test_the_last_worker_s_loss_ends_everything() -> None:
    controller = joined(1)
    controller.handle(c.CallsSubmitted((request(1), request(2)), NOTHING))
    controller.handle(c.SetterSubmitted(3, "set_weights", NOTHING))
    out = controller.handle(c.WorkerGone(0, "killed"))
    assert {i.call for i in out if isinstance(i, c.Reject)} == {1, 2}
    assert [type(i.error) for i in out if isinstance(i, c.Settle)] == [ClusterLost]


def test_shutting_down_ends_everything_and_sends_nothing() -> None:
    controller = joined(2)
    controller.handle(c.CallsSubmitted((request(1), request(2), request(3)), NOTHING))
    out = controller.handle(c.ShutDown())
    assert [type(i) for i in out] == [c.Reject] * 3
    assert not controller.workers


def test_a_pinned_call_needs_its_worker() -> None:
    controller = joined(2)
    out = controller.handle(c.CallsSubmitted((request(1, worker=7),), NOTHING))
    (reject,) = out
    assert isinstance(reject, c.Reject)
    assert isinstance(reject.error, ConfigError)
    assert "7" in str(reject.error)


@pytest.mark.parametrize("running", [True, False])
def test_cancel_stops_a_running_call_only(running: bool) -> None:
    controller = joined(1)
    controller.handle(c.CallsSubmitted((request(1), request(2)), NOTHING))
    out = controller.handle(c.CancelCalls((1 if running else 2,)))
    assert any(isinstance(i, c.StopCall) for i in out) is running


def answer(controller: Controller, send: c.Send) -> list[c.Instruction]:
    """Answer a parcel as a healthy worker does."""
    answers = tuple(
        wire.Done(NOTHING, 1.0) if isinstance(item, wire.Call) else wire.Answer()
        for item in send.items
        if not isinstance(item, (wire.Install, wire.Forget))
    )
    return controller.handle(
        c.ReplyArrived(send.worker, wire.Reply(send.parcel, answers))
    )


def one_lost_behind_a_setter() -> tuple[Controller, c.Send]:
    """A call's worker is lost after the other worker took a setter that came later."""
    controller = joined(2)
    controller.handle(c.CallsSubmitted((request(1),), NOTHING))
    on_busy, on_idle = sends(controller.handle(c.SetterSubmitted(2, "set", NOTHING)))
    assert (on_busy.worker, on_idle.worker) == (0, 1)
    answer(controller, on_idle)
    out = controller.handle(c.WorkerGone(0, "killed"))
    assert any(isinstance(i, c.Settle) and i.error is None for i in out)
    (again,) = sends(out)
    return controller, again


def test_a_lost_call_runs_again_under_its_own_configuration() -> None:
    controller, again = one_lost_behind_a_setter()
    kinds = [type(item) for item in again.items]
    assert kinds == [wire.Rebuild, wire.Install, wire.Call]
    assert again.items[0] == wire.Rebuild(())
    answer(controller, again)
    (later,) = sends(controller.handle(c.CallsSubmitted((request(3),), NOTHING)))
    assert [type(item) for item in later.items] == [wire.Apply, wire.Call]


def test_a_replay_is_not_taken_for_a_setter_s_acknowledgement() -> None:
    controller, again = one_lost_behind_a_setter()
    (apply,) = sends(controller.handle(c.SetterSubmitted(4, "set", NOTHING)))
    assert [type(item) for item in apply.items] == [wire.Apply, wire.Apply]
    out = answer(controller, again)
    assert not any(isinstance(i, c.Settle) for i in out)
    out = answer(controller, apply)
    assert [i.ticket for i in out if isinstance(i, c.Settle)] == [4]


def test_what_ran_behind_a_failed_replay_counts_for_nothing() -> None:
    controller, again = one_lost_behind_a_setter()
    failed = wire.Failed((refusal("ValueError", "builtins"),))
    reply = wire.Reply(again.parcel, (failed, wire.Done(NOTHING, 1.0)))
    out = controller.handle(c.ReplyArrived(again.worker, reply))
    assert [type(i) for i in out] == [c.Replace]
    (replay,) = sends(controller.handle(c.WorkerJoined(again.worker)))
    assert [type(item) for item in replay.items] == [wire.Apply]
    (once_more,) = sends(answer(controller, replay))
    assert once_more.items[0] == wire.Rebuild(())
    assert once_more.items[-1].id == 1


def test_a_worker_that_cannot_follow_twice_is_given_up() -> None:
    controller = joined(1)
    (apply,) = sends(controller.handle(c.SetterSubmitted(1, "set", NOTHING)))
    answer(controller, apply)
    (replay,) = sends(controller.handle(c.WorkerJoined(1)))
    assert [type(item) for item in replay.items] == [wire.Apply]
    controller.handle(c.CallsSubmitted((request(2, worker=1),), NOTHING))
    failed = wire.Failed((refusal("ValueError", "builtins"),))
    out = controller.handle(c.ReplyArrived(1, wire.Reply(replay.parcel, (failed,))))
    assert [type(i) for i in out] == [c.Replace]
    (replay,) = sends(controller.handle(c.WorkerJoined(1)))
    out = controller.handle(c.ReplyArrived(1, wire.Reply(replay.parcel, (failed,))))
    assert c.Release(1) in out
    assert [type(i.error) for i in out if isinstance(i, c.Reject)] == [WorkerLost]
    (reject,) = controller.handle(c.CallsSubmitted((request(3, worker=1),), NOTHING))
    assert isinstance(reject.error, ConfigError)


def test_a_pinned_call_that_was_stopped_by_mistake_stays_with_its_worker() -> None:
    controller = joined(2)
    call = request(1, worker=1)
    (send,) = sends(controller.handle(c.CallsSubmitted((call,), NOTHING)))
    reply = wire.Reply(send.parcel, (wire.StoppedCall(),))
    (again,) = sends(controller.handle(c.ReplyArrived(1, reply)))
    assert again.worker == 1


def test_a_lost_session_is_never_continued() -> None:
    controller = joined(2)
    _, opened = controller.handle(c.OpenSession(1))
    worker = wire.loads(opened.value)
    first, second = (request(n, session=1, step=n - 2) for n in (2, 3))
    (send,) = sends(controller.handle(c.CallsSubmitted((first,), NOTHING)))
    assert send.worker == worker
    answer(controller, send)
    controller.handle(c.CallsSubmitted((second,), NOTHING))
    out = controller.handle(c.WorkerGone(worker, "killed", replaced=True))
    (reject,) = [i for i in out if isinstance(i, c.Reject)]
    assert isinstance(reject.error, SessionLost)
    assert reject.error.last_step == 1
    controller.handle(c.WorkerJoined(worker))
    (reject,) = controller.handle(
        c.CallsSubmitted((request(4, session=1, step=2),), NOTHING)
    )
    assert isinstance(reject.error, SessionLost)
    assert controller.session_loss(1) is reject.error


def recovering(controller: Controller, steps: int) -> list[c.Send]:
    """Open session 1 on worker 0 and run steps 2, 3, ... of it, but the last one."""
    controller.handle(c.OpenSession(1, None, "p", NOTHING, recover=True))
    sent = []
    for n in range(steps):
        call = request(2 + n, session=1, step=n)
        sent += sends(controller.handle(c.CallsSubmitted((call,), NOTHING)))
        if n < steps - 1:
            answer(controller, sent[-1])
    return sent


def test_a_recovering_session_runs_its_steps_again_and_then_what_was_lost() -> None:
    controller = joined(2)
    *_, lost = recovering(controller, 3)
    out = controller.handle(c.WorkerGone(lost.worker, "killed"))
    assert c.Engage(1 - lost.worker) in out
    (again,) = sends(out)
    assert [item.step for item in again.items if isinstance(item, wire.Call)] == [0, 1]
    out = answer(controller, again)
    assert not any(isinstance(each, c.Resolve) for each in out)  # nobody waits for it
    (last,) = sends(out)
    assert [item.id for item in last.items if isinstance(item, wire.Call)] == [4]
    (resolve,) = answer(controller, last)
    assert resolve.call == 4
    assert controller.session_worker(1) == 1 - lost.worker
    assert len(controller.session_history(1)) == 3


def test_a_step_with_another_answer_ends_a_recovering_session() -> None:
    controller = joined(2)
    *_, lost = recovering(controller, 3)
    (again,) = sends(controller.handle(c.WorkerGone(lost.worker, "killed")))
    other = wire.Done(wire.dumps("something else"), 0.01)
    reply = wire.Reply(again.parcel, (wire.Done(NOTHING, 0.01), other))
    out = controller.handle(c.ReplyArrived(again.worker, reply))
    (reject,) = [i for i in out if isinstance(i, c.Reject)]
    assert reject.call == 4
    assert isinstance(reject.error, SessionLost)
    assert "step 2 gave another answer" in str(reject.error)


def done(controller: Controller, send: c.Send) -> list[c.Instruction]:
    """Answer a parcel of calls, quickly."""
    calls = [item for item in send.items if isinstance(item, wire.Call)]
    answers = (wire.Done(NOTHING, 0.001),) * len(calls)
    return controller.handle(
        c.ReplyArrived(send.worker, wire.Reply(send.parcel, answers))
    )


def two_steps_ahead(controller: Controller) -> list[c.Send]:
    """Run one step of a recovering session, and hand the worker two more."""
    controller.handle(c.OpenSession(1, 0, "p", NOTHING, recover=True))
    sent = []
    for n in range(3):
        call = request(2 + n, session=1, step=n)
        sent += sends(controller.handle(c.CallsSubmitted((call,), NOTHING)))
        if n == 0:
            done(controller, sent[-1])
    return sent[1:]


def test_what_was_sent_behind_an_undone_step_does_not_count() -> None:
    controller = joined(1)
    late, behind = two_steps_ahead(controller)
    reply = wire.Reply(late.parcel, (wire.TimedOut(1.0),))
    out = controller.handle(c.ReplyArrived(0, reply))
    assert isinstance(
        next(i.error for i in out if isinstance(i, c.Reject)), CallTimeout
    )
    (again,) = sends(out)
    out = done(controller, behind)  # it went on with half a step
    assert not any(isinstance(each, c.Resolve) for each in out)
    (once_more,) = sends(out)
    assert [item.id for item in once_more.items] == [4]  # type: ignore[union-attr]
    done(controller, again)
    assert c.Resolve(4, NOTHING) in done(controller, once_more)
    assert [step.number for step in controller.session_history(1)] == [0, 2]


def test_no_setter_comes_between_a_recovering_session_and_its_state() -> None:
    controller = joined(1)
    two_steps_ahead(controller)
    controller.handle(c.WorkerGone(0, "killed", replaced=True))
    controller.handle(c.SetterSubmitted(9, "set", NOTHING))
    out = controller.handle(c.WorkerJoined(0))
    order: list[object] = []
    while waiting := sends(out):
        out = []
        for send in waiting:
            order += [i.id if isinstance(i, wire.Call) else type(i) for i in send.items]
            if any(isinstance(item, wire.Apply) for item in send.items):
                out += answer(controller, send)
            else:
                out += done(controller, send)
    assert order == [wire.Install, -1, 3, 4, wire.Apply]


def test_a_worker_that_fails_at_the_same_entry_again_is_given_up() -> None:
    controller = joined(1)
    for ticket in (1, 2):
        (send,) = sends(controller.handle(c.SetterSubmitted(ticket, "set", NOTHING)))
        controller.handle(c.ReplyArrived(0, wire.Reply(send.parcel, (wire.Answer(),))))
    failed = (wire.Answer(), wire.Failed((refusal(),)))
    for kind in (c.Replace, c.Release):
        (send,) = sends(controller.handle(c.WorkerJoined(7)))
        out = controller.handle(c.ReplyArrived(7, wire.Reply(send.parcel, failed)))
        assert [type(each) for each in out if hasattr(each, "worker")] == [kind]


def test_a_call_that_nobody_is_free_to_run_is_refused() -> None:
    controller = joined(1)
    controller.handle(c.OpenSession(1))
    (reject,) = controller.handle(c.CallsSubmitted((request(2),), NOTHING))
    assert "hold sessions" in str(reject.error)
    (settle,) = controller.handle(c.OpenSession(3))
    assert "hold sessions" in str(settle.error)
    controller.handle(c.CloseSession(1))
    assert sends(controller.handle(c.CallsSubmitted((request(4),), NOTHING)))
