# SPDX-License-Identifier: Apache-2.0

"""Tests of the comparison with the committed counts, and of the stacks that allocate."""

import contextlib
import io
import unittest

from Bench import gates, gates_where
from Bench.gates import Gate


def compare(names, committed, measured, is_binding=True):
    """Returns whether all figures are within their tolerance, the output, and the remedies."""
    out, remedies = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(remedies):
        is_kept = gates.compare(names, {gate.name: gate for gate in committed}, is_binding, measured)
    return is_kept, out.getvalue(), remedies.getvalue()


class GatesTest(unittest.TestCase):
    def test_within_the_tolerance(self):
        gate = Gate("send-each.instructions", 10_000, "5%")
        is_kept, line, remedies = compare([gate.name], [gate], {gate.name: 10_500})
        self.assertTrue(is_kept)
        self.assertEqual(line, "send-each.instructions measured 10500 committed 10000 ratio 1.050 ok\n")
        self.assertEqual(remedies, "")

    def test_worse_and_better_both_fail_with_a_remedy(self):
        gate = Gate("send-each.allocations", 10, "2%")
        for measured, verdict, hint in ((10.3, "over", "state the reason"), (9.7, "under", "to keep the gain")):
            is_kept, line, remedies = compare([gate.name], [gate], {gate.name: measured})
            self.assertFalse(is_kept)
            self.assertIn(verdict, line)
            self.assertIn(hint, remedies)

    def test_a_figure_near_zero_has_the_room_of_its_decimals(self):
        gate = Gate("encode-map.allocations", 0, "2%")
        self.assertEqual([gate.verdict(value) for value in (0, 0.01, 0.03)], ["ok", "ok", "over"])
        self.assertIn("ratio - ok", gate.line(0))

    def test_what_is_not_committed_fails(self):
        is_kept, line, _ = compare(["send-each.bytes"], [], {"send-each.bytes": 5})
        self.assertFalse(is_kept)
        self.assertEqual(line, "send-each.bytes measured 5.00 not committed\n")

    def test_nothing_binds_with_other_versions(self):
        gate = Gate("send-each.allocations", 10, "2%")
        is_kept, line, _ = compare([gate.name], [gate], {gate.name: 20}, is_binding=False)
        self.assertTrue(is_kept)
        self.assertIn("ratio 2.000 over", line)

    def test_another_swift_nio_binds_and_another_toolchain_does_not(self):
        taken = gates.binding("Swift 6.3.1, swift-nio 2.101.2, Proton 0.37.0")
        self.assertEqual(gates.binding("Swift 6.3.1, swift-nio 2.102.0, Proton 0.37.0"), taken)
        self.assertNotEqual(gates.binding("Swift 6.3.2, swift-nio 2.101.2, Proton 0.37.0"), taken)

    def test_the_file_is_read_as_it_was_written(self):
        committed = {name: Gate(name, 1.25, "2%") for name in reversed(gates.all_names())}
        taken, found = gates.parse(gates.render("Swift 6", committed))
        self.assertEqual(taken, "Swift 6")
        self.assertEqual(found, committed)
        self.assertEqual(list(found), gates.all_names())


class WhereTest(unittest.TestCase):
    def test_what_only_setting_up_allocates_is_left_out(self):
        few = gates_where.parse("total 30 900\nstack 10 640 a:f b:g\nstack 20 260 c:h\n")
        more = "stack 20 1280 /x/allocations.so+0x1 a:f b:g\nstack 20 260 c:h\nstack 1 8 d:i\n"
        many = gates_where.parse("total 40 1540\n" + more)
        found = gates_where.difference(few, many)
        self.assertEqual(found, {("a:f", "b:g"): (10, 640), ("d:i",): (1, 8)})
