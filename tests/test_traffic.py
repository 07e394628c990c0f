"""What calls explain of the bytes of their connections."""

from a2a_grpc.listening.counters import Counters
from a2a_grpc.listening.debt import (
    ATTACK_CHARGES,
    BURST,
    CREDIT,
    LATE_S,
    RATE,
    REACTIONS,
    SENT_SHARE,
    SILENT_S,
    UNPARSED_BYTES,
    Allowance,
    Debt,
)
from a2a_grpc.rpc.options import FIRST_WINDOW_BYTES
from a2a_grpc.rpc.traffic import ALARM_BYTES, CALL_BYTES, RESET_BYTES, Account, Traffic


class Figures:
    """A connection as the kernel would show it."""

    def __init__(self) -> None:
        self.peer = "ipv4:127.0.0.1:1"
        self.received = self.sent = self.unread = self.unsent = 0


def looked(debt: Debt, figures: Figures, account: Account, now: float) -> float:
    debt.look(now, figures, account)  # type: ignore[arg-type]  # no more is read of a connection
    return debt.size


def test_bytes_of_calls_are_explained_and_others_are_a_debt_that_is_paid_with_time() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received, account.explained = 100_000, 100_000
    assert looked(debt, figures, account, 0.0) == 0
    figures.received += 10 * RATE
    assert looked(debt, figures, account, 0.0) == 10 * RATE
    assert looked(debt, figures, account, 4.0) == 6 * RATE
    assert looked(debt, figures, account, 100.0) == 0


def test_calls_that_explain_more_than_they_sent_are_credit_up_to_a_limit() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    account.explained = 1000
    assert looked(debt, figures, account, 0.0) == -1000
    assert looked(debt, figures, account, 60.0) == -1000
    account.explained = 10 * CREDIT
    assert looked(debt, figures, account, 60.0) == -CREDIT


def test_what_a_client_reads_explains_a_part_of_what_it_sends() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received, figures.sent = 1000, 1000 * SENT_SHARE
    assert looked(debt, figures, account, 0.0) == 0


def test_a_charge_is_a_debt_of_its_own_and_a_large_one_an_alarm() -> None:
    traffic, alarms = Traffic(), []
    traffic.on_alarm = lambda: alarms.append(True)
    traffic.charge("a", 1000)
    assert alarms == []
    traffic.charge("a", ALARM_BYTES)
    assert alarms == [True]
    debt = Debt(0.0)
    assert looked(debt, Figures(), traffic.account("a"), 0.0) == 1000 + ALARM_BYTES
    assert debt.charges == 1000 + ALARM_BYTES


def test_during_an_attack_fewer_charges_end_a_connection() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    account.charged = ATTACK_CHARGES + 1
    assert not floods(debt, figures, account, Counted(0), is_attacked=False)
    assert floods(debt, figures, account, Counted(0), is_attacked=True)


def test_an_account_is_forgotten_once_its_connection_is_missed_twice() -> None:
    traffic = Traffic()
    traffic.account("new").explained = 5
    traffic.keep([])
    assert traffic.account("new").explained == 5
    traffic.keep(["new"])
    traffic.keep([])
    assert traffic.account("new").explained == 5
    traffic.keep([])
    assert traffic.account("new").explained == 0


ALLOWANCE = Allowance(request_bytes=4 << 20, metadata_bytes=16 * 1024, streams=100)
PENDING_BYTES = 16 * 1024 + CALL_BYTES + FIRST_WINDOW_BYTES
"""What one call that waits in gRPC may have sent."""
ALWAYS_BYTES = BURST + UNPARSED_BYTES


class Counted:
    """gRPC's counters of a connection."""

    def __init__(self, started: int, ended: int = 0) -> None:
        self.counters = Counters(started, ended, messages=0)

    def of(self, peer: str) -> Counters:
        return self.counters


def floods(
    debt: Debt, figures: Figures, account: Account, counted: Counted, *, now: float = 0.0, is_attacked: bool = False
) -> bool:
    looked(debt, figures, account, now)
    return debt.is_flood(figures, account, counted, ALLOWANCE, is_attacked=is_attacked)  # type: ignore[arg-type]


def test_calls_that_wait_in_grpc_explain_what_calls_may_send() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received = ALWAYS_BYTES + 100 * PENDING_BYTES
    assert not floods(debt, figures, account, Counted(100))
    figures.received += 1
    assert floods(debt, figures, account, Counted(100))
    figures.unread = 1
    assert not floods(debt, figures, account, Counted(100)), "gRPC may find a call in it"


def test_a_call_that_is_begun_or_freed_explains_nothing_more() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received = ALWAYS_BYTES + 1
    account.begun = 100
    assert floods(debt, figures, account, Counted(100))
    account.begun = 0
    assert floods(debt, figures, account, Counted(100, ended=100))
    assert not floods(debt, figures, account, Counted(101, ended=100))


def test_refusals_of_streams_are_a_flood_and_answers_of_calls_are_not() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received, account.begun = 2 * BURST, 1
    assert not floods(debt, figures, account, Counted(100))
    figures.unsent = 2 * REACTIONS
    assert not floods(debt, figures, account, Counted(100)), "a call is being answered"
    figures.unsent += 2 * REACTIONS
    account.waiting = 1
    assert not floods(debt, figures, account, Counted(100)), "it was being answered at the look before"
    figures.unsent += 2 * REACTIONS
    assert floods(debt, figures, account, Counted(100)), "it waits for its request, and only refusals are written"


def test_calls_that_were_reset_before_they_are_begun_are_charged_once() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received, account.begun, account.waiting = 2 * BURST, 10, 9
    limit = ALARM_BYTES // RESET_BYTES
    held = 2 * ALLOWANCE.streams + account.begun
    assert not floods(debt, figures, account, Counted(held)), "as many may be open, and about to be freed"
    assert debt.charges == 0
    for _ in range(3):
        assert not floods(debt, figures, account, Counted(held + limit))
    assert debt.charges == limit * RESET_BYTES
    account.dropped = 5  # they were charged when they were dropped
    assert not floods(debt, figures, account, Counted(held + limit + 5))
    assert floods(debt, figures, account, Counted(held + limit + 6))


def test_what_happened_while_the_event_loop_was_blocked_is_no_refusal() -> None:
    debt, figures, account = Debt(0.0), Figures(), Account()
    figures.received = 2 * BURST
    for look in range(4):
        figures.unsent, figures.received = 2 * REACTIONS * look, figures.received + RATE
        assert not floods(debt, figures, account, Counted(100), now=2 * LATE_S * look)


def test_in_an_attack_a_new_connection_that_begins_no_call_is_ended_soon_and_one_that_made_calls_is_not() -> None:
    for arrived in (0, 1):
        debt, figures, account = Debt(0.0), Figures(), Account()
        figures.received, account.arrived = 2 * BURST, arrived
        assert not floods(debt, figures, account, Counted(100), is_attacked=True)
        assert debt.is_suspect == (not arrived), "no further byte passes until the connection is judged"
        assert floods(debt, figures, account, Counted(100), now=SILENT_S, is_attacked=True) == (not arrived)


def test_connections_that_left_after_a_call_without_its_request_are_counted() -> None:
    traffic = Traffic()
    for peer in ("silent", "begun", "arrived", "answered"):
        traffic.account(peer).begun = int(peer != "silent")
    traffic.account("arrived").arrived = 1
    traffic.answered("answered")
    traffic.keep(["begun"])
    traffic.keep(["begun"])
    assert traffic.left == 0
    traffic.keep([])
    traffic.keep([])
    assert traffic.left == 1
