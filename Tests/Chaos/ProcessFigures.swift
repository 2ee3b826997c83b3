// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// The resources of this process, from /proc and the allocator.
struct ProcessFigures: Codable {
    /// The resident bytes, after the allocator has returned unused memory.
    var resident: Int
    /// The allocated bytes.
    var allocated: Int
    /// The open sockets.
    var sockets: Int
    /// All open descriptors.
    var descriptors: Int
    var threads: Int
    /// The number of living Swift tasks; 0 if the runtime does not support the count.
    var tasks: Int

    static func measured() -> ProcessFigures {
        Allocator.trim()
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        let targets = names.compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
        }
        return ProcessFigures(
            resident: Self.resident,
            allocated: Allocator.allocated,
            sockets: targets.count { $0.hasPrefix("socket:") },
            descriptors: targets.count,
            threads: Self.status("Threads:"),
            tasks: LiveTasks.count ?? 0
        )
    }

    /// The current resident bytes.
    static var resident: Int { Self.status("VmRSS:") * 1_024 }

    /// The processor time of this process in seconds.
    static var processorTime: Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func status(_ name: String) -> Int {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) })
        else { return 0 }
        return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) } ?? 0
    }
}

/// Glibc's allocator, whose header Swift does not import. With another allocator the calls do nothing.
private enum Allocator {
    static func trim() {
        guard let function = self.function("malloc_trim") else { return }
        _ = unsafeBitCast(function, to: (@convention(c) (Int) -> CInt).self)(0)
    }

    static var allocated: Int {
        guard let function = self.function("malloc_info") else { return 0 }
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("malloc-\(getpid())").path
        guard let file = fopen(path, "w") else { return 0 }
        _ = unsafeBitCast(function, to: (@convention(c) (CInt, UnsafeMutableRawPointer) -> CInt).self)(
            0,
            UnsafeMutableRawPointer(file)
        )
        fclose(file)
        defer { unlink(path) }
        // The totals of all arenas are at the end of the file.
        let lines = (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
        func size(_ head: String) -> Int {
            guard let line = lines.last(where: { $0.hasPrefix(head) }),
                let value = line.firstMatch(of: /size="(\d+)"/)
            else { return 0 }
            return Int(value.1) ?? 0
        }
        let free = size("<total type=\"fast\"") + size("<total type=\"rest\"")
        return size("<system type=\"current\"") + size("<total type=\"mmap\"") - free
    }

    private static func function(_ name: String) -> UnsafeMutableRawPointer? { dlsym(nil, name) }
}
