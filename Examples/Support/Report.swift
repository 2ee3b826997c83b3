// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
package import QpidProton

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A JSON object of one line, with its keys in the order of their addition.
package struct Report {
    private var fields: [String] = []

    package init() {}

    package mutating func add(_ key: String, _ value: Int) {
        self.fields.append("\(Self.quoted(key)):\(value)")
    }

    package mutating func add(_ key: String, _ value: String) {
        self.fields.append("\(Self.quoted(key)):\(Self.quoted(value))")
    }

    package mutating func add(_ key: String, seconds: Duration) {
        self.fields.append("\(Self.quoted(key)):\(String(format: "%.6f", seconds.inSeconds))")
    }

    package mutating func add(_ key: String, _ object: Report) {
        self.fields.append("\(Self.quoted(key)):\(object.line)")
    }

    package mutating func add(_ key: String, _ objects: [Report]) {
        self.fields.append("\(Self.quoted(key)):[\(objects.map(\.line).joined(separator: ","))]")
    }

    /// Adds how long each cause blocked a link, in seconds.
    package mutating func addBlocked(_ times: [AMQPBlockCause: Duration]) {
        var causes = Report()
        for cause in AMQPBlockCause.allCases {
            if let time = times[cause] { causes.add(cause.rawValue, seconds: time) }
        }
        self.add("blocked_seconds", causes)
    }

    /// The object as text.
    package var line: String { "{\(self.fields.joined(separator: ","))}" }

    /// Prints the object, on stderr if stdout carries the data.
    ///
    /// - Throws: `SystemFailure` if the object cannot be written.
    package func print(toStandardError: Bool = false) throws(SystemFailure) {
        let file = File(descriptor: toStandardError ? STDERR_FILENO : STDOUT_FILENO, isOwned: false)
        try file.write(ByteBuffer(string: self.line + "\n"), what: toStandardError ? "stderr" : "stdout")
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 32: result += String(format: "\\u%04x", scalar.value)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension Duration {
    /// The duration as a number of seconds.
    package var inSeconds: Double {
        let (seconds, attoseconds) = self.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}

/// The resources of the process.
package enum Usage {
    /// The processor time of the process, including the kernel's part.
    package static var cpuTime: Duration {
        var usage = rusage()
        #if os(Linux)
            getrusage(RUSAGE_SELF.rawValue, &usage)
        #else
            getrusage(RUSAGE_SELF, &usage)
        #endif
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        return .seconds(seconds) + .microseconds(Int(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec))
    }

    /// The peak of the process's resident memory, in bytes.
    package static var residentPeak: Int {
        #if os(Linux)
            // getrusage is unsuitable, because its peak starts with that of the parent process.
            guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return 0 }
            for line in status.split(separator: "\n") where line.hasPrefix("VmHWM:") {
                return (Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) ?? 0) << 10
            }
            return 0
        #else
            var usage = rusage()
            getrusage(RUSAGE_SELF, &usage)
            return usage.ru_maxrss
        #endif
    }
}
