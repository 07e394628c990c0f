"""What calls explain of the bytes of their connections."""

from a2a_grpc.rpc.traffic import ALARM_BYTES, Account, Traffic
from a2a_grpc.server.guard import CREDIT, RATE, SENT_SHARE, Debt


class Figures:
    """A connection as the kernel would show it."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


def looked(debt: Debt, figures: Figures, account: Account, now: float) -> float:
    debt.look(now, figures, account)  # type: ignore[arg-type]  # only these two figures are read
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
