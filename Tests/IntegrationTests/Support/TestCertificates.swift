// SPDX-License-Identifier: Apache-2.0

import Foundation
import QpidProton
import Synchronization
import TestSupport

/// Where the certificates of the tests lie: dev/certs makes them once a run. See there what each is for.
struct TestCertificates: Sendable {
    private let folder: TemporaryFolder

    private static let made = Mutex<TestCertificates?>(nil)

    static func files() throws -> TestCertificates {
        try self.made.withLock { made in
            if let made { return made }
            let files = TestCertificates(folder: try TemporaryFolder())
            let process = Process()
            process.executableURL = Repository.root.appendingPathComponent("dev/certs")
            process.arguments = [files.folder.url.path]
            process.standardInput = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw MissingProgram(description: "dev/certs could not make certificates: run dev/setup --tests")
            }
            // Statics are not freed when the tests end.
            atexit { TestCertificates.made.withLock { $0 = nil } }
            made = files
            return files
        }
    }

    func path(_ name: String) -> String { self.folder.file(name).path }

    /// The authority that signed all certificates but its rival's own.
    var authority: AMQPTLS.TrustRoots { .file(self.path("ca.pem")) }
    var otherAuthority: AMQPTLS.TrustRoots { .file(self.path("other-ca.pem")) }
    /// For localhost, 127.0.0.1 and ::1.
    var server: AMQPTLS.Identity { self.identity("server") }
    var expired: AMQPTLS.Identity { self.identity("expired") }
    /// For other.example.
    var wrongHost: AMQPTLS.Identity { self.identity("wronghost") }
    /// Named test-client.
    var client: AMQPTLS.Identity { self.identity("client") }

    private func identity(_ name: String) -> AMQPTLS.Identity {
        .files(certificateChain: self.path("\(name).pem"), privateKey: self.path("\(name).key"))
    }
}
