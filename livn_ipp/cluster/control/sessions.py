"""Sessions: which worker holds a simulation that goes on, and what if it is lost.

A session that may recover is brought back by running its steps again, each under the
configuration that it had; its answers must be those that it gave before.
"""

import hashlib
from typing import Final

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import outcomes
from livn_ipp.cluster.control.board import Board
from livn_ipp.cluster.control.events import Disengage, Engage, OpenSession, Settle, Step
from livn_ipp.cluster.control.records import Call, Parcel, Session
from livn_ipp.errors import CallCancelled, ConfigError, LivnError, SessionLost

__all__ = ["Sessions"]

_COMPARED: Final = 1 << 20
"""Bytes of an answer up to which it is worth a digest (1 ms)."""


class Sessions(Board):
    """Gives workers to sessions, and their states back to them.

    Parameters are those of :class:`livn_ipp.cluster.control.board.Board`.
    """

    def session_loss(self, session: int) -> SessionLost | None:
        """Return why a session is lost, if it is."""
        return self._lost_sessions.get(session)

    def session_worker(self, session: int) -> int | None:
        """Return the worker that holds a session's state, or held it last."""
        held = self._sessions.get(session)
        return None if held is None else held.worker

    def session_history(self, session: int) -> tuple[Step, ...]:
        """Return the steps that a session's state came from, if they are recorded."""
        held = self._sessions.get(session)
        return () if held is None else tuple(held.history)

    # Seats

    def _unreserved(self) -> list[int]:
        return [
            index
            for index, worker in self._workers.items()
            if worker.session is None and not worker.draining
        ]

    def _open_sessions(self) -> None:
        """Give a worker to each session that waits for one."""
        for number, session in list(self._sessions.items()):
            if session.waiting:
                found = self._worker_for(session.wanted)
                if isinstance(found, int):
                    session.waiting = False
                    self._seat(number, session, found)
                elif found is not None:
                    self._lose_session(number, f"{self._last_loss}; {found}")
        while self._openings:
            event = self._openings[0]
            found = self._worker_for(event.worker)
            if found is None:
                return
            self._openings.popleft()
            if isinstance(found, int):
                self._seat(event.session, self._new_session(event), found)
                value = wire.dumps(found)
                self._out.append(Settle(event.session, value=value))
            else:
                self._out.append(Settle(event.session, found))

    def _new_session(self, event: OpenSession) -> Session:
        session = self._sessions[event.session] = Session(
            -1, event.worker, pipeline=event.pipeline, recover=event.recover
        )
        if event.pipeline is not None:
            self._use(event.pipeline, event.content)
        if event.history:
            session.history = list(event.history)
            session.steps = event.history[-1].number + 1
            session.begin_again()
        return session

    def _seat(self, number: int, session: Session, index: int) -> None:
        session.worker = index
        self._workers[index].session = number
        self._out.append(Engage(index))

    def _worker_for(self, wanted: int | None) -> int | LivnError | None:
        """Choose a worker; None to wait for one, or why there will be none."""
        free = self._unreserved()
        if wanted is None and free:
            return min(free, key=lambda i: (len(self._workers[i].parcels), i))
        if wanted in free:
            return wanted
        may_come = self._expected if wanted is None else {wanted}
        return None if may_come & self._expected else self._no_session(wanted)

    def _no_session(self, wanted: int | None) -> LivnError:
        if not self._workers:
            return outcomes.nobody_left([self._last_loss])
        if wanted is not None and wanted not in self._workers:
            return ConfigError(
                f"there is no worker {wanted}; live workers are {list(self._workers)}"
            )
        who = f"all {len(self._workers)} workers hold"
        if wanted is not None:
            who = f"worker {wanted} holds"
        return ConfigError(
            f"{who} sessions; close one first, or add workers, one for each session"
        )

    # Ends

    def _close_session(self, number: int) -> None:
        self._lost_sessions.pop(number, None)
        if self._leave_seat(number) is not None:
            error = CallCancelled(f"session {number} was closed")
            for call in self._steps(number):
                self._reject(call, error)

    def _lose_session(self, number: int, reason: str) -> None:
        session = self._leave_seat(number)
        if session is None:
            return
        error = outcomes.session_lost(number, session.worker, session.steps, reason)
        self._lost_sessions[number] = error
        for call in self._steps(number):
            self._reject(call, error)

    def _leave_seat(self, number: int) -> Session | None:
        session = self._sessions.pop(number, None)
        if session is None:
            return None
        if session.pipeline is not None:
            self._disuse(session.pipeline)
        worker = self._workers.get(session.worker)
        if worker is not None and worker.session == number:
            worker.session = None
            self._out.append(Disengage(session.worker))
        return session

    def _steps(self, number: int) -> list[Call]:
        """Take the steps of a session that have not ended off their queues."""
        self._unqueue(("session", number))
        return [call for call in self._calls.values() if call.request.session == number]

    # Steps

    def _end_step(self, item: wire.Call, answer: object, parcel: Parcel) -> None:
        """Take in how a step of a session ended."""
        assert item.session is not None
        session = self._sessions.get(item.session)
        if session is None:
            return
        if not isinstance(answer, (wire.Done, wire.Failed)):
            reason = f"step {item.step + 1} was stopped"
            self._interrupt(item.session, reason, seated=True)
            return
        if isinstance(answer, wire.Done):
            session.steps = item.step + 1
            session.losses = 0
        if session.pipeline is None:
            return
        if item.step == 0:
            session.history.clear()
            session.reached = parcel.simulation
        session.history.append(
            Step(
                item.step,
                item.trial,
                item.inputs,
                item.state,
                item.options,
                item.limit,
                parcel.version,
                _digest(answer),
            )
        )

    def _end_repeated(self, item: wire.Call, answer: object) -> None:
        """Compare the answer of a step that was run again with the former one."""
        assert item.session is not None
        session = self._sessions.get(item.session)
        step = None if session is None else session.again.pop(item.id, None)
        if step is None:
            return
        number = item.step + 1
        if not isinstance(answer, (wire.Done, wire.Failed)):
            reason = f"step {number} was stopped as it was run again"
            self._interrupt(item.session, reason, seated=True)
        elif _digest(answer) != step.digest:
            self._lose_session(
                item.session,
                f"step {number} gave another answer when it was run again; what a "
                "step does may only depend on its inputs and the trial",
            )

    def _interrupt(self, number: int, reason: str, *, seated: bool) -> None:
        """Take in that a session's state is lost, with its worker unless `seated`."""
        session = self._sessions.get(number)
        if session is None:
            return
        session.losses += 1
        if not session.recover or session.losses > self._max_retries:
            self._lose_session(number, reason)
            return
        session.waiting = not seated
        session.begin_again()
        if seated:
            self._recall(session.worker)

    def _recall(self, index: int) -> None:
        """Have steps run once more that were sent behind one that was stopped."""
        for parcel in self._workers[index].parcels:
            parcel.void = True
            for number in parcel.calls:
                call = self._calls.get(number)
                if call is not None and call.held_in == (index, parcel.number):
                    call.held_in = None
                    self._run_again(call, index)

    def _catching_up(self) -> bool:
        """Tell whether a session is on its way to its state: no setter may come then.

        Going back behind a setter would need another network, and lose the state.
        """
        return any(
            not session.waiting
            and (session.ahead or self._retries.get(("session", number)))
            for number, session in self._sessions.items()
        )


def _digest(answer: wire.Done | wire.Failed) -> bytes:
    """Tell an answer from others, if that is cheap."""
    content = hashlib.blake2b(digest_size=16)
    if isinstance(answer, wire.Failed):
        content.update(repr([(f.rank, f.type_name) for f in answer.failures]).encode())
        return content.digest()
    if wire.size(answer.result) > _COMPARED:
        return b""
    for frame in answer.result:
        content.update(frame if isinstance(frame, bytes) else memoryview(frame))
    return content.digest()
