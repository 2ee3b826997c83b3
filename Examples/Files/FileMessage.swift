// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
package import NIOCore
package import QpidProton

/// The form of a file as a message: its path in the subject, its permissions and SHA-256 in application properties.
package enum FileMessage {
    /// The key of the SHA-256, 64 hexadecimal digits.
    package static let digestKey = "sha256"
    /// The key of the permissions, octal digits.
    package static let permissionsKey = "permissions"

    /// Creates the message of a file with its content.
    package static func make(path: String, permissions: UInt16, content: ByteBuffer) -> AMQPMessage {
        var message = self.make(path: path, permissions: permissions, digest: self.digest(of: content))
        message.bodyBytes = content
        return message
    }

    /// Creates the message of a file without its body, for streaming.
    package static func make(path: String, permissions: UInt16, digest: String) -> AMQPMessage {
        var message = AMQPMessage()
        message.properties.subject = path
        message.properties.contentType = AMQPSymbol(self.contentType(of: path))
        message.applicationProperties[self.digestKey] = .string(digest)
        message.applicationProperties[self.permissionsKey] = .string(String(permissions & 0o777, radix: 8))
        return message
    }

    /// Returns the permissions in a message: at most reading, writing and executing.
    package static func permissions(of message: AMQPMessage) -> UInt16? {
        message.applicationProperties[self.permissionsKey]?.stringValue.flatMap { UInt16($0, radix: 8) }
            .map { $0 & 0o777 }
    }

    /// Returns the SHA-256 of bytes as hexadecimal digits.
    package static func digest(of bytes: ByteBuffer) -> String {
        var digest = FileDigest()
        digest.add(bytes)
        return digest.finish()
    }

    private static let contentTypes: [String: String] = [
        "css": "text/css", "csv": "text/csv", "gif": "image/gif", "gz": "application/gzip", "htm": "text/html",
        "html": "text/html", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript",
        "json": "application/json", "md": "text/markdown", "pdf": "application/pdf", "png": "image/png",
        "svg": "image/svg+xml", "tar": "application/x-tar", "txt": "text/plain", "xml": "application/xml",
        "zip": "application/zip",
    ]

    /// Returns the MIME type for the end of a name.
    package static func contentType(of path: String) -> String {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "application/octet-stream" }
        return self.contentTypes[name[name.index(after: dot)...].lowercased()] ?? "application/octet-stream"
    }
}

/// The SHA-256 of bytes in pieces.
package struct FileDigest: Sendable {
    private var hash = SHA256()
    /// The bytes so far.
    package private(set) var count = 0

    package init() {}

    package mutating func add(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { self.hash.update(bufferPointer: $0) }
        self.count += bytes.readableBytes
    }

    /// The digest as 64 hexadecimal digits.
    package func finish() -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in self.hash.finalize() { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}
