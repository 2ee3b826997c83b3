// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// The files of this repository.
package enum Repository {
    package static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    package static func path(_ name: String) -> String { self.root.appending(path: name).path }

    package static func text(of name: String) throws -> String {
        try String(contentsOfFile: self.path(name), encoding: .utf8)
    }
}
