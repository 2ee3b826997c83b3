// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import QpidProton

/// The log names a Proton version that was never tested.
struct ProtonVersionTests {
    @Test func theLoadedVersionIsRecognised() {
        // `dev/proton-newest` runs the tests with another version.
        let expected = ProcessInfo.processInfo.environment["QPID_PROTON_LOADED_VERSION"] ?? ProtonVersion.tested
        #expect(ProtonVersion.loaded == expected)
    }

    @Test func eachVersionIsRecognisedByItsFunctions() {
        var functions: Set<String> = []
        #expect(ProtonVersion.version(functions.contains) == "unknown")
        functions.insert("pn_transport")
        #expect(ProtonVersion.version(functions.contains) == "0.36 or older")
        functions.insert("pn_connection_driver_read_buffer_sized")
        #expect(ProtonVersion.version(functions.contains) == "0.37")
        functions.insert("pn_class_create")
        #expect(ProtonVersion.version(functions.contains) == "0.38 or 0.39")
        functions.insert("pn_session_set_incoming_window_and_lwm")
        #expect(ProtonVersion.version(functions.contains) == "0.40 or newer")
    }

    @Test(arguments: [
        ("0.37", "0.37", false), ("0.37", "unknown", false), ("0.37", "0.40 or newer", true), ("0.39", "0.37", true),
    ])
    func aVersionThatWasNotTestedIsLogged(headers: String, loaded: String, isLogged: Bool) {
        let log = LogLines()
        ProtonVersion.log(headers: headers, loaded: loaded, log.logger)
        #expect(log.text.isEmpty != isLogged)
        #expect(log.text.contains(loaded) == isLogged)
    }
}
