// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// The texts for causes of network failures. No error shows an internal text of a dependency.
enum NetworkError {
    /// Returns the cause of a failure, as one clause of an error text.
    static func cause(_ error: any Error) -> String {
        switch error {
        case let error as AMQPError: error.detail
        case let error as IOError: self.cause(errno: error.errnoCode)
        case let error as SocketAddressError.UnknownHost:
            self.cause(resolver: Int32(truncatingIfNeeded: error.errorCode))
        case let error as ChannelError: self.cause(error)
        case SocketAddressError.unsupported: "the host has no IPv4 or IPv6 address"
        case SocketAddressError.failedToParseIPString: "the text is not an IP address"
        default: self.unknown
        }
    }

    /// Returns the cause behind an error number of the system.
    static func cause(errno code: CInt) -> String {
        switch code {
        case EACCES, EPERM: "permission denied"
        case EADDRINUSE: "address already in use"
        case EADDRNOTAVAIL: "the address does not belong to this machine"
        case EAFNOSUPPORT: "this machine does not support this kind of address"
        case ECONNABORTED: "connection aborted"
        case ECONNREFUSED: "connection refused"
        case ECONNRESET: "connection reset by peer"
        case EHOSTUNREACH: "no route to the host"
        case EMFILE, ENFILE: "too many open files"
        case ENETDOWN: "network down"
        case ENETUNREACH: "network unreachable"
        case ENOBUFS, ENOMEM: "out of memory"
        case EPIPE: "the peer closed the socket"
        case ETIMEDOUT: "connection timed out"
        default: self.systemText(code)
        }
    }

    /// Returns the cause behind a result of `getaddrinfo`.
    static func cause(resolver code: CInt) -> String {
        switch code {
        case EAI_AGAIN: "the host's name was not found: the resolver gave no answer"
        case EAI_MEMORY: "out of memory"
        default: "the host's name was not found: check the spelling and the resolver"
        }
    }

    private static func cause(_ error: ChannelError) -> String {
        switch error {
        case .connectTimeout: "no answer"
        case .alreadyClosed, .eof, .inputClosed, .ioOnClosedChannel, .outputClosed: "the socket is closed"
        default: self.unknown
        }
    }

    private static func systemText(_ code: CInt) -> String {
        guard let text = strerror(code) else { return "system error \(code)" }
        let words = String(cString: text)
        return words.prefix(1).lowercased() + words.dropFirst()
    }

    /// The text for any other failure; the log contains the failure itself at debug level.
    static let unknown = "an unexpected failure of the network layer"

    /// Returns a host and a port as a URL shows them: an IPv6 address in brackets.
    static func place(_ host: String, _ port: Int) -> String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Returns an address as a URL shows it.
    static func place(_ address: SocketAddress) -> String {
        switch address {
        case .v4, .v6: self.place(address.ipAddress ?? "", address.port ?? 0)
        case .unixDomainSocket: address.pathname ?? ""
        }
    }
}

extension NetworkError {
    /// Translates a failure to bind a listening socket.
    static func bind(_ error: any Error, _ host: String, _ port: Int) -> AMQPError {
        if let error = error as? AMQPError { return error }
        var failure = self.bindFailure(error, host, port)
        failure.underlying = error
        return failure
    }

    private static func bindFailure(_ error: any Error, _ host: String, _ port: Int) -> AMQPError {
        let place = self.place(host, port)
        let cause = self.cause(error)
        guard let code = (error as? IOError)?.errnoCode else {
            return AMQPError(condition: .invalidArgument, detail: "cannot listen on \(place): \(cause)")
        }
        switch code {
        case EADDRINUSE:
            let remedy = "stop the program that listens there, or choose another port"
            return AMQPError(condition: .resourceLocked, detail: "cannot listen on \(place): \(cause): \(remedy)")
        case EACCES, EPERM:
            let remedy = port < 1_024 ? ": ports below 1024 need a privilege" : ""
            return AMQPError(condition: .unauthorizedAccess, detail: "cannot listen on \(place): \(cause)\(remedy)")
        case EMFILE, ENFILE, ENOBUFS, ENOMEM:
            return AMQPError(condition: .resourceLimitExceeded, detail: "cannot listen on \(place): \(cause)")
        default: return AMQPError(condition: .invalidArgument, detail: "cannot listen on \(place): \(cause)")
        }
    }
}
