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

extension Array where Element == Double {
    /// The middle one of an odd number; the upper of two middle ones; 0 of none.
    var median: Double { self.isEmpty ? 0 : self.sorted()[self.count / 2] }
}
