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

/// The version of Proton-C: the one whose headers the library was built with, and the one that the process has loaded.
///
/// The library rests on how Proton frames windows, channels and handles, which no interface promises. A version that was never
/// tested is named in the log.
enum ProtonVersion {
    /// What the tests run with.
    static let tested = "0.37"
    /// The version of the headers.
    static let headers = "\(PN_VERSION_MAJOR).\(PN_VERSION_MINOR)"
    /// The version that the process has loaded. Proton has no function that returns it: it shows in the functions that came with a
    /// version.
    static let loaded = Self.version { Self.function($0) != nil }

    /// The version that has some of these functions and lacks others.
    static func version(_ has: (String) -> Bool) -> String {
        // Nothing is found where Proton is linked statically.
        guard has("pn_transport") else { return "unknown" }
        if has("pn_session_set_incoming_window_and_lwm") { return "0.40 or newer" }
        if has("pn_class_create") { return "0.38 or 0.39" }
        return has("pn_connection_driver_read_buffer_sized") ? "0.37" : "0.36 or older"
    }

    /// A function of the Proton that the process has loaded; `nil` if it has none of this name.
    static func function(_ name: String) -> UnsafeMutableRawPointer? {
        guard let process = dlopen(nil, RTLD_NOW) else { return nil }
        defer { dlclose(process) }
        return dlsym(process, name)
    }

    private static let isLogged = Atomic(false)

    /// Logs a version that was never tested, once in the life of the process.
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
