// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QpidProton

/// A link and its session at one moment.
package struct FlowLook: Sendable {
    package let link: AMQPLinkSnapshot
    package let session: AMQPSessionSnapshot

    init?(_ connection: AMQPConnectionSnapshot, link name: String, isSender: Bool) {
        for session in connection.sessions {
            guard let link = session.links.first(where: { $0.isSender == isSender && $0.name.hasSameBytes(as: name) })
            else {
                continue
            }
            self.link = link
            self.session = session
            return
        }
        return nil
    }

    /// Adds the figures of the link.
    ///
    /// - Parameters:
    ///   - before: The previous state.
    ///   - seconds: The time between the two states.
    func add(to line: inout StatusLine, since before: FlowLook?, _ seconds: Double) {
        if self.link.isSender {
            // `--limit` sets the limit of the session.
            line.add("unsent \(StatusLine.fill(self.session.outgoing))", importance: 5)
        } else {
            let waiting = self.link.messages > 0 ? ", \(self.link.messages) to take" : ""
            line.add("buffered \(StatusLine.fill(self.link.bytes))\(waiting)", importance: 5)
        }
        line.add("credit \(self.link.credit)", importance: 4)
        if self.link.isSender {
            line.add("peer's window \(self.session.remoteIncomingWindow)", importance: 2)
        } else {
            line.add("unsettled \(self.link.unsettled)", importance: 2)
        }
        if self.link.droppedMessages > 0 { line.add("dropped \(self.link.droppedMessages)", importance: 4) }
        if let waiting = self.waiting(since: before, seconds) { line.add("waiting: \(waiting)", importance: 9) }
    }

    /// Returns the current cause and its duration, or the short waits that fill most of the time since the last state.
    private func waiting(since before: FlowLook?, _ seconds: Double) -> String? {
        if let cause = self.link.blockedBy, self.link.blockedFor >= .milliseconds(200) {
            return "\(cause) \(String(format: "%.1f", self.link.blockedFor.inSeconds)) s"
        }
        let shares = self.link.blockedTimes.map { cause, time in
            (cause: cause, part: (time - (before?.link.blockedTimes[cause] ?? .zero)).inSeconds / max(1e-6, seconds))
        }
        guard let most = shares.max(by: { $0.part < $1.part }), most.part >= 0.2 else { return nil }
        return "\(most.cause) \(Int(min(100, (most.part * 100).rounded()))) %"
    }
}

/// One line of parts. If room is missing, the least important parts are omitted.
struct StatusLine {
    private var parts: [(text: String, importance: Int)] = []

    mutating func add(_ text: String, importance: Int) {
        self.parts.append((text, importance))
    }

    /// Returns the line in at most `width` characters.
    func text(within width: Int) -> String {
        var parts = self.parts
        while true {
            let text = parts.map(\.text).joined(separator: ", ")
            if text.count <= width { return text }
            guard parts.count > 1, let least = parts.indices.min(by: { parts[$0].importance < parts[$1].importance })
            else { return String(text.prefix(max(0, width))) }
            parts.remove(at: least)
        }
    }

    /// Adds a part of a total, rounded down, so that 100 % means everything.
    mutating func add(share part: Int, of total: Int, importance: Int) {
        guard total > 0 else { return }
        self.add("\(Int(Double(min(part, total)) / Double(total) * 100)) %", importance: importance)
    }

    /// Adds the remaining time, unless there is no progress or the work is done.
    mutating func add(left seconds: Double, importance: Int) {
        guard seconds > 0, seconds < 1e9 else { return }
        self.add("\(Units.time(seconds)) left", importance: importance)
    }

    /// Formats the used bytes of a limit, for example `512 KiB of 1 MiB`. There is no bar, because the number is not
    /// progress.
    static func fill(_ fill: AMQPFill) -> String {
        guard let limit = fill.limit, limit.bytes > 0 else { return Units.bytes(fill.used.bytes) }
        return "\(Units.bytes(fill.used.bytes)) of \(Units.bytes(limit.bytes))"
    }
}
