// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Certificates from the `openssl` command, in a directory that is deleted with the value.
final class TestCertificates: Sendable {
    let directory: String

    init() throws {
        self.directory =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("amqp-certificates-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        try self.makeAuthority("ca")
    }

    deinit {
        try? FileManager.default.removeItem(atPath: self.directory)
    }

    func path(_ name: String) -> String { "\(self.directory)/\(name)" }

    func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: self.path(name))))
    }

    func write(_ text: String, to name: String) throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: self.path(name)))
        return self.path(name)
    }

    /// Creates an authority in `<name>.pem` and `<name>.key`.
    func makeAuthority(_ name: String) throws {
        try self.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout \(name).key "
                + "-out \(name).pem -subj /CN=\(name)"
        )
    }

    /// Creates `<name>.pem` and `<name>.key`, signed by an authority. With a negative `days` the certificate has
    /// expired.
    func make(
        _ name: String,
        subject: String,
        alternativeNames: String? = nil,
        days: Int = 2,
        authority: String = "ca"
    ) throws {
        try self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout \(name).key -out \(name).csr",
            "-subj",
            subject
        )
        _ = try self.write(alternativeNames.map { "subjectAltName=\($0)\n" } ?? "", to: "\(name).ext")
        try self.openssl(
            "x509 -req -in \(name).csr -CA \(authority).pem -CAkey \(authority).key -CAcreateserial -days \(days) "
                + "-extfile \(name).ext -out \(name).pem"
        )
    }

    /// Runs `openssl`. The words of `command` are its first arguments.
    func openssl(_ command: String, _ more: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + command.split(separator: " ").map(String.init) + more
        process.currentDirectoryURL = URL(fileURLWithPath: self.directory)
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "openssl \(command)")
    }
}
