// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// A folder that is removed with the last reference.
package final class TemporaryFolder: Sendable {
    package let url: URL

    package init() throws {
        self.url = FileManager.default.temporaryDirectory.appendingPathComponent("qpid-proton-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.url, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: self.url)
    }

    package func file(_ name: String) -> URL { self.url.appendingPathComponent(name) }
}

/// Runs `body` with a folder, and then removes the folder.
package func withFolder(_ body: (URL) async throws -> Void) async throws {
    let folder = try TemporaryFolder()
    // The compiler may otherwise release the folder before `body` returns.
    defer { withExtendedLifetime(folder) {} }
    try await body(folder.url)
}
