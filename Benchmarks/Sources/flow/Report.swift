// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// Lines on stdout, each written at once: another process may wait for them.
enum Output {
    static func line(_ text: String) {
        FileHandle.standardOutput.write(Data("\(text)\n".utf8))
    }
}

/// The figures of one scenario, printed as they are found.
struct Report {
    let scenario: String
    private(set) var isShort = false

    init(_ scenario: String) {
        self.scenario = scenario
    }

    /// A figure without a goal.
    func note(_ figure: String, _ value: Double, _ unit: String = "") {
        Output.line("\(self.scenario) \(figure) \(Self.text(value, unit))")
    }

    mutating func atMost(_ figure: String, _ value: Double, _ goal: Double, _ unit: String = "") {
        self.show(figure, value, "<=\(Self.text(goal, unit))", unit, value <= goal)
    }

    mutating func atLeast(_ figure: String, _ value: Double, _ goal: Double, _ unit: String = "") {
        self.show(figure, value, ">=\(Self.text(goal, unit))", unit, value >= goal)
    }

    private mutating func show(_ figure: String, _ value: Double, _ goal: String, _ unit: String, _ isMet: Bool) {
        let verdict = isMet ? "ok" : "short"
        Output.line("\(self.scenario) \(figure) \(Self.text(value, unit)) goal \(goal) \(verdict)")
        if !isMet { self.isShort = true }
    }

    private static func text(_ value: Double, _ unit: String) -> String {
        if value == value.rounded(), abs(value) < 1e15 { return "\(Int(value))\(unit)" }
        return "\(String(format: abs(value) < 10 ? "%.3f" : "%.1f", value))\(unit)"
    }

    /// Throws the exit code 1 when a goal was missed.
    func end() throws {
        if self.isShort { throw ExitCode(1) }
    }
}

extension Double {
    /// Bytes in MiB.
    init(mebibytes bytes: Int) { self = Double(bytes) / 1_048_576 }
}

/// Rates of something alone and beside something else, in pairs that were measured one after the other.
struct Pairs {
    private var rates: [Bool: [Double]] = [:]

    mutating func add(_ rate: Double, isBeside: Bool) {
        self.rates[isBeside, default: []].append(rate)
    }

    var alone: [Double] { self.rates[false] ?? [] }
    var beside: [Double] { self.rates[true] ?? [] }
    /// In percent: the median of the pairs' own ratios, which a busy machine changes less than the medians of the rates.
    var ratio: Double { zip(self.beside, self.alone).map { 100 * $0 / max($1, 1e-9) }.median }

    /// Shows the rates, how far those alone lay apart, and the ratio.
    func show(_ figure: String, beside neighbour: String, unit: String, _ report: inout Report) {
        report.note("\(figure)-alone", self.alone.median, unit)
        report.note("\(figure)-beside-\(neighbour)", self.beside.median, unit)
        let spread = 100 * ((self.alone.max() ?? 0) - (self.alone.min() ?? 0)) / max(self.alone.median, 1e-9)
        report.note("\(figure)-alone-spread", spread, "%")
        report.atLeast("\(figure)-beside-\(neighbour)-to-alone", self.ratio, 95, "%")
    }
}

extension Array where Element == Double {
    /// The middle one of an odd number; the upper of two middle ones; 0 of none.
    var median: Double { self.isEmpty ? 0 : self.sorted()[self.count / 2] }
}
