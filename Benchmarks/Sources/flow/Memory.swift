// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The resident memory of this process, from /proc.
enum Memory {
    /// The resident bytes now.
    static var resident: Int { self.field("VmRSS:") }
    /// The peak since the start, or since ``resetPeak()``.
    static var peak: Int { self.field("VmHWM:") }

    /// Resets ``peak`` to the resident bytes, and returns them.
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
