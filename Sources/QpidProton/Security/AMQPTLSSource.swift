// SPDX-License-Identifier: Apache-2.0

import NIOSSL

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// PEM text, in a file or in memory.
enum AMQPTLSSource: Hashable, Sendable {
    case file(String)
    case bytes(Redacted<[UInt8]>)

    /// The source's name in an error's text.
    var place: String {
        switch self {
        case .file(let path): "the file '\(path)'"
        case .bytes: "the PEM bytes"
        }
    }

    /// Reads the certificates. `role` names the certificates in an error's text.
    func certificates(_ role: String) throws(AMQPError) -> [NIOSSLCertificate] {
        let bytes = try self.read(role)
        do {
            return try NIOSSLCertificate.fromPEMBytes(bytes)
        } catch {
            throw Self.error(
                "\(self.place) contains no PEM form of \(role)",
                "it must contain BEGIN CERTIFICATE blocks; 'openssl x509 -inform der' converts DER to PEM"
            )
        }
    }

    /// Reads the private key.
    func privateKey() throws(AMQPError) -> NIOSSLPrivateKey {
        let bytes = try self.read("the private key")
        do {
            // An empty passphrase, so that BoringSSL does not ask for one on the terminal.
            return try NIOSSLPrivateKey(bytes: bytes, format: .pem) { setter in setter([UInt8]()) }
        } catch {
            throw Self.error(
                "\(self.place) contains no readable private key in PEM form",
                "it must contain a PRIVATE KEY block without a passphrase; 'openssl pkey -in OLD -out NEW' removes one"
            )
        }
    }

    /// Reads a whole file. The function blocks: call it outside the event loop.
    private func read(_ role: String) throws(AMQPError) -> [UInt8] {
        let path: String
        switch self {
        case .bytes(let bytes): return bytes.value
        case .file(let name): path = name
        }
        // The system would read the path only up to a zero byte.
        guard !path.utf8.contains(0) else {
            throw Self.error("the path \(path.debugDescription) for \(role) contains a zero byte", "remove it")
        }
        guard let file = fopen(path, "rb") else {
            let cause = errno == ENOENT ? "does not exist" : "cannot be opened (\(NetworkError.cause(errno: errno)))"
            throw Self.error("the file '\(path)' for \(role) \(cause)", "check the path and its permissions")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count <= Self.maxFileSize {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        if ferror(file) != 0 || bytes.count > Self.maxFileSize {
            throw Self.error(
                "the file '\(path)' for \(role) cannot be read",
                "it must be a PEM file, of at most 16 MiB"
            )
        }
        return bytes
    }

    private static let maxFileSize = 16 * 1_048_576

    static func error(_ cause: String, _ remedy: String) -> AMQPError {
        AMQPError(condition: .invalidArgument, detail: "\(cause): \(remedy)")
    }
}
