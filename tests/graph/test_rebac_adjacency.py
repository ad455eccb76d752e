"""What users lead to, put together and kept, is what each of them leads to."""

from __future__ import annotations

import random

from pyroaring import BitMap

from graph.rebac.adjacency import Adjacency


def test_the_objects_of_many_users_are_those_of_each_of_them_after_every_change() -> None:
    choose, adjacency = random.Random(8), Adjacency()  # noqa: S311  no secret
    expected: dict[int, list[int]] = {}
    asked: list[BitMap] = []
    for _step in range(2_000):
        user = choose.randrange(200)
        if user in expected:
            adjacency.forget(user)
            del expected[user]
        if user not in expected and choose.random() < 0.8:
            expected[user] = sorted(choose.sample(range(70_000), choose.randrange(9)))
            adjacency.put(user, expected[user])
        some = choose.sample(sorted(expected), min(len(expected), choose.choice([3, 17, 60])))
        asked = [BitMap(some), *asked[:5]]
        for users in asked:  # those that were asked about before, too
            known = users - adjacency.unknown(users)
            assert adjacency.objects(known) == BitMap(o for user in known for o in expected[user])
    assert adjacency.unknown(BitMap(range(200))) == BitMap(range(200)) - BitMap(expected)
