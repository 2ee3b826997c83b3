// SPDX-License-Identifier: Apache-2.0

internal import CProton
internal import Logging
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The versions of Proton-C: of the headers at build time, and of the loaded library.
///
/// This library depends on how Proton frames windows, channels and handles, which no interface guarantees. A log line
/// names an untested version.
enum ProtonVersion {
    /// The version with which the tests run.
    static let tested = "0.37"
    /// The version of the headers.
    static let headers = "\(PN_VERSION_MAJOR).\(PN_VERSION_MINOR)"
    /// The version of the loaded library. Proton has no function that returns its version, so the presence of later
    /// functions determines the version.
    static let loaded = Self.version { Self.function($0) != nil }

    /// Returns the version that has certain functions and lacks others.
    static func version(_ has: (String) -> Bool) -> String {
        // A statically linked Proton has no symbols to find.
        guard has("pn_transport") else { return "unknown" }
        if has("pn_session_set_incoming_window_and_lwm") { return "0.40 or newer" }
        if has("pn_class_create") { return "0.38 or 0.39" }
        return has("pn_connection_driver_read_buffer_sized") ? "0.37" : "0.36 or older"
    }

    /// Returns a function of the loaded Proton; `nil` if it has no function of this name.
    static func function(_ name: String) -> UnsafeMutableRawPointer? {
        guard let process = dlopen(nil, RTLD_NOW) else { return nil }
        defer { dlclose(process) }
        return dlsym(process, name)
    }

    private static let isLogged = Atomic(false)

    /// Logs an untested version, once per process.
    static func check(_ logger: Logger) {
        guard !self.isLogged.exchange(true, ordering: .relaxed) else { return }
        self.log(headers: self.headers, loaded: self.loaded, logger)
    }

    static func log(headers: String, loaded: String, _ logger: Logger) {
        guard headers != self.tested || loaded != self.tested && loaded != "unknown" else { return }
        logger.warning(
            "this version of Qpid Proton-C was never tested with swift-qpid-proton",
            metadata: .amqp([
                .protonLoaded: "\(loaded)", .protonHeaders: "\(headers)", .protonTested: "\(self.tested)",
            ])
        )
    }
}
