// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The lines on stdout, each flushed at once, because another process may wait for them.
enum Output {
    static func line(_ text: String) {
        FileHandle.standardOutput.write(Data("\(text)\n".utf8))
    }
}

/// The figures of one scenario, each printed when it is measured.
struct Report {
    let scenario: String
    private(set) var isShort = false

    init(_ scenario: String) {
        self.scenario = scenario
    }

    /// Prints a figure without a goal.
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

    /// Throws the exit code 1 if a goal was missed.
    func end() throws {
        if self.isShort { throw ExitCode(1) }
    }
}

extension Double {
    /// Creates a number of MiB from bytes.
    init(mebibytes bytes: Int) { self = Double(bytes) / 1_048_576 }
}

/// The rates of a load alone and beside another load, in pairs that were measured one after the other.
struct Pairs {
    private var rates: [Bool: [Double]] = [:]

    mutating func add(_ rate: Double, isBeside: Bool) {
        self.rates[isBeside, default: []].append(rate)
    }

    var alone: [Double] { self.rates[false] ?? [] }
    var beside: [Double] { self.rates[true] ?? [] }
    /// The median of the ratios of the pairs, in percent. A busy machine changes it less than the medians of the rates.
    var ratio: Double { zip(self.beside, self.alone).map { 100 * $0 / max($1, 1e-9) }.median }

    /// Prints the rates, the spread of the rates alone, and the ratio.
    func show(_ figure: String, beside neighbour: String, unit: String, _ report: inout Report) {
        report.note("\(figure)-alone", self.alone.median, unit)
        report.note("\(figure)-beside-\(neighbour)", self.beside.median, unit)
        let spread = 100 * ((self.alone.max() ?? 0) - (self.alone.min() ?? 0)) / max(self.alone.median, 1e-9)
        report.note("\(figure)-alone-spread", spread, "%")
        report.atLeast("\(figure)-beside-\(neighbour)-to-alone", self.ratio, 95, "%")
    }
}

extension Array where Element == Double {
    /// The median; the upper one of two middle values; 0 without values.
    var median: Double { self.isEmpty ? 0 : self.sorted()[self.count / 2] }
}
