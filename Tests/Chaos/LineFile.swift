// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers

/// A file of lines, each of which is written immediately.
final class LineFile: Sendable {
    private let file: NIOLockedValueBox<FileHandle>

    init(_ path: String, _ head: String) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else { throw CocoaError(.fileWriteUnknown) }
        self.file = NIOLockedValueBox(file)
        self.add(head)
    }

    func add(_ line: String) { self.file.withLockedValue { $0.write(Data("\(line)\n".utf8)) } }

    func flush() { self.file.withLockedValue { try? $0.synchronize() } }
}
