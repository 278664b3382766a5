from nightkiln.plan.ceiling import CUT, ROUND_S, Ceiling


def test_without_throttles_all_slots_may_go() -> None:
    ceiling = Ceiling(64)
    ceiling.on_ok()
    assert (ceiling.limit, ceiling.is_low) == (64.0, False)


def test_a_round_of_throttles_is_one_cut() -> None:
    ceiling = Ceiling(64)
    for _ in range(50):
        ceiling.on_throttle(10.0, in_flight=64)
    assert ceiling.limit == 64 * CUT
    ceiling.on_throttle(10.0 + 2 * ROUND_S, in_flight=20)
    assert ceiling.limit == 20 * CUT


def test_it_never_falls_below_one_and_grows_back_with_answers() -> None:
    ceiling = Ceiling(8)
    for second in range(60):
        ceiling.on_throttle(float(second), in_flight=1)
    assert ceiling.limit == 1.0
    for _ in range(400):
        ceiling.on_ok()
    assert (ceiling.limit, ceiling.is_low) == (8.0, False)


def test_against_a_rate_limit_most_requests_get_through() -> None:
    """100 answers a second at 20 ms each: two in flight are enough, 64 are a storm."""
    ceiling, now, asked, answered = Ceiling(64), 0.0, 0, 0
    while answered < 2000:
        allowed = 2  # by the bucket, in each 20 ms
        flying = int(ceiling.limit)
        asked += flying
        answered += min(flying, allowed)
        for _ in range(min(flying, allowed)):
            ceiling.on_ok()
        if flying > allowed:
            ceiling.on_throttle(now, in_flight=flying)
        now += 0.02
    assert asked / answered < 1.8
