// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The memory of this process that is resident, from /proc.
enum Memory {
    /// Bytes now.
    static var resident: Int { self.field("VmRSS:") }
    /// The most since the start, or since ``resetPeak()``.
    static var peak: Int { self.field("VmHWM:") }

    /// Makes ``peak`` begin at what is resident now. Returns what that is.
    static func resetPeak() -> Int {
        // 5 is the value that resets the high-water mark: proc(5).
        try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
        return self.resident
    }

    private static func field(_ name: String) -> Int {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
            let kibibytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({
                Int($0)
            })
        else { return 0 }
        return kibibytes * 1_024
    }
}
