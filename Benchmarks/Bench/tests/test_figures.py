# SPDX-License-Identifier: Apache-2.0

"""Tests of the figures of a run and of their lines."""

import re
import unittest
import xml.dom.minidom

from Bench import flow, goals, picture, report, stats, table


def case(scenario, name, kind, settings, **entries):
    """Returns a case whose entries have one value of each key in all rounds."""
    made = []
    for label, values in entries.items():
        medians = {key: {"median": value, "min": value, "max": value} for key, value in values.items()}
        label = label.replace("_", "-")
        made.append({"label": label, "contender": label, "count": 10, "medians": medians, "measurements": []})
    return {"scenario": scenario, "name": name, "kind": kind, "settings": settings, "entries": made}


def results(*cases):
    machine = {"cpu": "a <fast> one", "cores": 2, "memory_bytes": 1 << 34, "load_before": [0.1], "commit": "1"}
    machine |= {"system": "Debian", "kernel": "Linux", "swift": "6.3", "proton": "0.37.0", "date": "2026-01-01T00:00"}
    options = {"quick": False, "rounds": 5, "scenarios": ["throughput"]}
    return {"options": options, "machine": machine, "is_complete": True, "cases": cases, "notes": ["one"], "seconds": 9}


def headline(ours, plain):
    rates = {"messages_per_second": ours, "megabytes_per_second": ours / 1e4, "cpu_us_per_message": 3.0}
    rival = {"messages_per_second": plain, "megabytes_per_second": plain / 1e4, "cpu_us_per_message": 2.0}
    settings = {"size": 100, "credit": 1000}
    return case("throughput", goals.HEADLINE, "transfer", settings, ours=rates, c_proactor=rival)


class FiguresTest(unittest.TestCase):
    def test_rate_and_cpu_beside_c(self):
        lines = [str(figure) for figure in goals.collect(results(headline(800_000.0, 640_000.0)))]
        name = "throughput unsettled-100B-credit-1000"
        self.assertEqual(lines[0], f"{name} ours 800000msg/s c-proactor 640000msg/s ratio 1.250 goal >=1 ok")
        self.assertEqual(lines[1], f"{name}-cpu-per-message ours 3us c-proactor 2us ratio 1.500 goal <=1.2 short")

    def test_codec_is_told_as_speed(self):
        values = {"encode_ns": 100.0, "decode_ns": 400.0, "read_ns": 500.0, "encoded_bytes": 9}
        slow = {"encode_ns": 250.0, "decode_ns": 400.0, "read_ns": 1000.0, "encoded_bytes": 9}
        found = goals.collect(results(case("codec", "map", "codec", {"message": "map"}, ours=values, c_proactor=slow)))
        self.assertEqual([(figure.ratio, figure.is_met) for figure in found], [(2.5, True), (1.0, False), (2.0, True), (1.0, None)])

    def test_links_are_beside_one_link(self):
        values = {1: 2.0, 1000: 2.5}
        cases = [
            case("links", f"{count}", "transfer", {"size": 100, "links": count}, ours={"cpu_us_per_message": cost})
            for count, cost in values.items()
        ]
        (figure,) = goals.collect(results(*cases))
        text = "links cpu-per-message-1000-to-1 ours 2.5us ours-1-link 2us ratio 1.250 goal <=1.2 short"
        self.assertEqual(str(figure), text)

    def test_links_with_rabbitmq_are_beside_their_rates_alone(self):
        entries = {
            "classic_alone": {"classic_per_second": 1000.0},
            "quorum_alone": {"quorum_per_second": 100.0},
            "together": {"classic_per_second": 950.0, "quorum_per_second": 80.0},
        }
        found = results(case("rabbitmq", "two-senders", "beside", {}, **entries))
        lines = [str(figure) for figure in goals.collect(found)]
        text = "rabbitmq two-senders-classic together 950msg/s classic-alone 1000msg/s ratio 0.950"
        self.assertEqual(lines[0], text)
        self.assertEqual(lines[1].split()[-1], "0.800")
        self.assertIn("RabbitMQ 4", report.page(found, goals.collect(found)))
        self.assertIn("950", "\n".join(table.lines(found)))

    def test_idle_goal_is_of_the_value(self):
        values = {"connector_bytes_each": 65536.0, "listener_bytes_each": 65537.0}
        found = goals.collect(results(case("idle", "1000-connections", "idle", {}, ours=values)))
        self.assertEqual([str(figure.goal_text) for figure in found], ["<=64KiB", "<=64KiB"])
        self.assertEqual([figure.is_met for figure in found], [True, False])

    def test_lines_of_flow_are_taken_over(self):
        figures = ["priority lanes-p50 0.412ms", "priority p99-plain-to-lanes 27.3x goal >=20x ok"]
        said = flow.parse("\n".join([figures[0], "other words", figures[1], "never-reads sample 0.25s 1048576", ""]))
        self.assertEqual([line["line"] for line in said["lines"]], figures)
        self.assertEqual(said["lines"][1]["is_met"], True)
        self.assertEqual(said["samples"], [[0.25, 1048576]])
        entry = {"label": "ours", "contender": "ours", "said": said}
        made = {"scenario": "priority", "name": "alarms", "kind": "priority", "settings": {}, "entries": [entry]}
        self.assertEqual([str(figure) for figure in goals.collect(results(made))], figures)


class StatsTest(unittest.TestCase):
    def test_summary(self):
        self.assertEqual(stats.summary([3, None, 1, 2]), {"median": 2, "min": 1, "max": 3})
        self.assertIsNone(stats.summary([None]))

    def test_two_digits(self):
        self.assertEqual([stats.two_digits(number) for number in (0.3, 9, 99, 101, 123_456)], [1, 9, 99, 100, 120_000])

    def test_curves_of_rounds_with_other_steps(self):
        merged = stats.merge_curves([[[0, 1], [50, 2], [100, 9]], [[0, 3], [95, 4], [100, 5]]], 100)
        self.assertEqual(merged[0], [0.0, 2])
        self.assertEqual(merged[-1], [99.0, 7])


class ReportTest(unittest.TestCase):
    def test_page_is_whole_and_alone(self):
        found = results(headline(800_000.0, 640_000.0))
        page = report.page(found, goals.collect(found))
        self.assertIn("1 of 2 goals met", page)
        self.assertIn("a &lt;fast&gt; one", page)
        self.assertIsNone(re.search(r"https?:|<script|url\(|@import", page))
        self.assertEqual(page.count("<svg"), page.count("</svg>"))

    def test_pictures_stand_alone_in_two_colours(self):
        found = picture.pictures(results(headline(300_000.0, 500_000.0)))
        self.assertEqual(list(found), ["", "-dark"])
        for text in found.values():
            self.assertIn("this library", text)
            self.assertIn("Proton C", text)
            self.assertNotIn("var(", text)
            xml.dom.minidom.parseString(text)
        self.assertNotEqual(found[""], found["-dark"])
        self.assertEqual(picture.pictures(results()), {})

    def test_text_table(self):
        lines = list(table.lines(results(headline(800_000.0, 640_000.0))))
        self.assertIn("800,000", "\n".join(lines))
        self.assertEqual(lines[-1], "note: one")
