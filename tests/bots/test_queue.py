"""Turns first, permits second, both by arrival."""

from __future__ import annotations

from bothost.bots.queue import BotQueue, QueueTicket


class Line:
    """A lane whose places write down when they are ready."""

    def __init__(self, limit: int) -> None:
        self.queue = BotQueue(limit)
        self.ready: list[str] = []
        self.places: dict[str, QueueTicket] = {}

    def enter(self, name: str, turn: str | None = None) -> QueueTicket:
        ticket = self.places[name] = QueueTicket(turn, lambda: self.ready.append(name))
        self.queue.enter(ticket)
        return ticket


def test_a_free_lane_is_ready_at_once() -> None:
    line = Line(2)
    line.enter("a", "1")
    assert line.ready == ["a"]


def test_one_busy_task_holds_one_permit_however_many_events_wait() -> None:
    line = Line(2)
    for name in "abc":
        line.enter(name, "1")
    line.enter("d", "2")
    assert line.ready == ["a", "d"]
    assert line.queue.held == 2


def test_turns_go_by_arrival() -> None:
    line = Line(1)
    for name in "abc":
        line.enter(name, "1")
    for name in "abc":
        line.places[name].leave()
    assert line.ready == ["a", "b", "c"]
    assert line.queue.held == 0


def test_a_permit_comes_back_apart_from_the_turn() -> None:
    line = Line(1)
    first = line.enter("a", "1")
    line.enter("b", "1")
    line.enter("c", "2")
    first.free_permit()
    assert line.ready == ["a", "c"]
    first.free_turn()
    assert line.ready == ["a", "c"]
    line.places["c"].leave()
    assert line.ready == ["a", "c", "b"]


def test_a_stored_event_goes_before_one_of_its_task_that_waits_for_the_permit_it_holds() -> None:
    line = Line(1)
    newer = line.enter("newer", "1")
    newer.stand_back()  # the journal said that an older event of the task waits
    pump = line.enter("pump")
    assert line.queue.adopt(pump, "1", lambda: line.ready.append("older"))
    line.queue.ask_again(newer)
    assert line.ready == ["newer", "pump"]
    pump.leave()
    assert line.ready == ["newer", "pump", "newer"]
    newer.leave()
    assert (line.queue.held, line.queue.waiting) == (0, 0)


def test_a_turn_that_comes_back_to_one_that_stands_back_waits_until_it_asks_again() -> None:
    line = Line(1)
    newer = line.enter("newer", "1")
    newer.stand_back()
    pump = line.enter("pump")
    line.queue.adopt(pump, "1", lambda: None)
    pump.leave()
    assert line.ready == ["newer", "pump"]
    line.queue.ask_again(newer)
    assert line.ready == ["newer", "pump", "newer"]


def test_giving_back_twice_gives_back_once() -> None:
    line = Line(1)
    ticket = line.enter("a", "1")
    ticket.free_permit()
    ticket.free_permit()
    ticket.leave()
    assert line.queue.held == 0
    line.enter("b", "1")
    line.enter("c", "2")
    assert line.ready == ["a", "b"]


def test_a_place_that_left_is_passed_over() -> None:
    line = Line(1)
    line.enter("a", "1")
    line.enter("b", "2").leave()
    line.enter("c", "3")
    line.places["a"].leave()
    assert line.ready == ["a", "c"]


def test_later_arrivals_wait_for_a_stored_event_of_their_task() -> None:
    line = Line(4)
    line.queue.stand_ahead("1", "bot:1:comment:5")
    line.enter("new", "1")
    assert line.ready == []
    stored = line.enter("permit")
    assert line.queue.adopt(stored, "1", lambda: line.ready.append("stored"))
    line.queue.went("1", "bot:1:comment:5")
    assert line.ready == ["permit"]
    stored.leave()
    assert line.ready == ["permit", "new"]


def test_an_adopted_place_waits_for_the_event_that_runs() -> None:
    line = Line(4)
    running = line.enter("running", "1")
    line.enter("later", "1")
    stored = line.enter("permit")
    assert not line.queue.adopt(stored, "1", lambda: line.ready.append("stored"))
    running.leave()
    assert line.ready == ["running", "permit", "stored"]
    stored.leave()
    assert line.ready[-1] == "later"


def test_no_permits_hold_everybody_until_there_are_some() -> None:
    line = Line(0)
    line.enter("a", "1")
    assert line.ready == []
    line.queue.resize(1)
    assert line.ready == ["a"]


def test_asking_again_keeps_the_turn_and_gives_the_permit() -> None:
    line = Line(1)
    ticket = line.enter("a", "1")
    line.enter("b", "2")
    line.enter("c", "1")
    ticket.free_permit()
    assert line.ready == ["a", "b"]
    line.queue.ask_again(ticket)
    line.places["b"].leave()
    assert line.ready == ["a", "b", "a"]


def test_nothing_is_left_behind_when_all_have_left() -> None:
    line = Line(2)
    places = [line.enter(str(number), str(number % 3)) for number in range(30)]
    for ticket in places:
        ticket.leave()
    assert line.queue.held == 0
    assert line.queue.waiting == 0
    assert line.queue._turns == {}
