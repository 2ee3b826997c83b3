// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Counts the living Swift tasks of this process, because the runtime has no counter.
///
/// A task is a heap object that begins with the address of the runtime's task type and its reference counts. The count
/// finds these two words in the writable memory of the process, and skips tasks that have been released.
package enum LiveTasks {
    /// The bits of reference counts that mark a last release, and counts that are stored elsewhere.
    private static let (released, elsewhere): (UInt64, UInt64) = (1 << 32, 1 << 63)

    /// The number of tasks that have not ended or that still have references; `nil` if the runtime's symbol is missing.
    ///
    /// A cancelled `Task.sleep` keeps a task of the runtime until its time has passed.
    package static var count: Int? {
        guard let symbol = dlsym(nil, "_swift_concurrency_debug_asyncTaskMetadata"),
            let maps = try? String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        else { return nil }
        // A read of memory that another thread has unmapped fails and does not trap.
        let memory = open("/proc/self/mem", O_RDONLY)
        guard memory >= 0 else { return nil }
        defer { close(memory) }
        let type = symbol.load(as: UInt64.self)
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { block.deallocate() }
        return maps.split(separator: "\n").reduce(0) { sum, line in
            let fields = line.split(separator: " ")
            let bounds = fields[0].split(separator: "-").compactMap { Int($0, radix: 16) }
            guard bounds.count == 2, fields[1].hasPrefix("rw"), fields[4] == "0" else { return sum }
            return sum + self.count(type, in: bounds[0]..<bounds[1], of: memory, block)
        }
    }

    private static func count(
        _ type: UInt64,
        in range: Range<Int>,
        of memory: CInt,
        _ block: UnsafeMutableRawBufferPointer
    ) -> Int {
        var (start, count) = (range.lowerBound, 0)
        while start < range.upperBound {
            let read = pread(memory, block.baseAddress, min(block.count, range.upperBound - start), start)
            guard read > 0 else { break }
            start += read
            // Heap objects are aligned to two words.
            for offset in stride(from: 0, to: read - 15, by: 16)
            where block.load(fromByteOffset: offset, as: UInt64.self) == type {
                let references = block.load(fromByteOffset: offset + 8, as: UInt64.self)
                if references & Self.elsewhere != 0 || references & Self.released == 0 { count += 1 }
            }
        }
        return count
    }
}
