// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The resources that a process used, and the line that reports them.
struct Usage: Encodable {
    var messages: Int?
    var seconds: Double?
    var messagesPerSecond: Double?
    var megabytesPerSecond: Double?
    var connections: Int?
    var connectionsPerSecond: Double?
    var residentBytesBefore: Int?
    var residentBytesAfter: Int?
    var percentilesUs: [String: Double]?
    var curveUs: [[Double]]?
    /// The messages a second, by link.
    var rates: [String: Double]?
    var encodeNs: Double?
    var decodeNs: Double?
    var readNs: Double?
    var encodedBytes: Int?
    private var cpuSeconds = 0.0
    private var peakResidentBytes = 0

    /// Sets the rate for messages with bodies of `size` bytes.
    mutating func setRate(_ count: Int, size: Int, _ duration: Duration) {
        self.messages = count
        let seconds = duration / .seconds(1)
        self.seconds = seconds
        self.messagesPerSecond = Double(count) / seconds
        self.megabytesPerSecond = Double(count) * Double(size) / seconds / 1e6
    }

    /// Prints the line.
    mutating func print() throws {
        var used = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &used)
        let time = { (time: timeval) in Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        self.cpuSeconds = time(used.ru_utime) + time(used.ru_stime)
        self.peakResidentBytes = used.ru_maxrss * 1_024
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = .sortedKeys
        FileHandle.standardOutput.write(try encoder.encode(self) + Data("\n".utf8))
    }

    static func error(_ line: String) {
        FileHandle.standardError.write(Data("\(line)\n".utf8))
    }

    /// The resident memory of this process, in bytes.
    static var residentBytes: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return (line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) * 1_024
    }
}
