// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers
package import QpidProton

/// The certificates of the tests. `dev/certs` creates them once a run and lists their purposes.
package struct TestCertificates: Sendable {
    private let folder: TemporaryFolder

    private static let made = NIOLockedValueBox<TestCertificates?>(nil)

    package static func files() throws -> TestCertificates {
        try self.made.withLockedValue { made in
            if let made { return made }
            let files = TestCertificates(folder: try TemporaryFolder())
            do {
                try ChildProcess.run(Repository.path("dev/certs"), [files.folder.url.path])
            } catch {
                throw MissingProgram(description: "dev/certs made no certificates: run dev/setup --tests (\(error))")
            }
            // Statics are not freed when the tests end.
            atexit { TestCertificates.made.withLockedValue { $0 = nil } }
            made = files
            return files
        }
    }

    package func path(_ name: String) -> String { self.folder.file(name).path }

    package func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: self.folder.file(name))) }

    /// The authority that signed all certificates except ``stranger``.
    package var authority: AMQPTLS.TrustRoots { .file(self.path("ca.pem")) }
    package var otherAuthority: AMQPTLS.TrustRoots { .file(self.path("other-ca.pem")) }
    /// The identity of localhost, broker.example, 127.0.0.1 and ::1.
    package var server: AMQPTLS.Identity { self.identity("server") }
    package var expired: AMQPTLS.Identity { self.identity("expired") }
    /// The identity of other.example.
    package var wrongHost: AMQPTLS.Identity { self.identity("wronghost") }
    /// The identity of a client with the name test-client.
    package var client: AMQPTLS.Identity { self.identity("client") }
    /// The identity of a client with the name stranger, from the other authority.
    package var stranger: AMQPTLS.Identity { self.identity("stranger") }

    private func identity(_ name: String) -> AMQPTLS.Identity {
        .files(certificateChain: self.path("\(name).pem"), privateKey: self.path("\(name).key"))
    }
}
