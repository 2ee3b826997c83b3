// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

/// A reader for the names in a certificate, which swift-nio-ssl does not make public.
///
/// Source: RFC 5280 §4.1, X.690 §8.1.
enum CertificateName {
    /// Returns the bytes of a certificate from its subject to its end.
    private static func fromSubject(ofDER bytes: [UInt8]) -> ArraySlice<UInt8>? {
        var certificate = bytes[...]
        guard var outer = Self.read(&certificate, tag: 0x30), var toBeSigned = Self.read(&outer, tag: 0x30) else {
            return nil
        }
        if toBeSigned.first == 0xa0 { _ = Self.read(&toBeSigned, tag: 0xa0) }
        // The fields before the subject: serial number, signature algorithm, issuer, validity.
        for tag: UInt8 in [0x02, 0x30, 0x30, 0x30] {
            guard Self.read(&toBeSigned, tag: tag) != nil else { return nil }
        }
        return toBeSigned
    }

    /// Returns the host names of a certificate; empty if the certificate has no name. Source: RFC 5280 §4.2.1.6.
    static func hostNames(ofDER bytes: [UInt8]) -> [String] {
        // The fields before the extensions: subject, public key, and two rare identifiers.
        guard var rest = Self.fromSubject(ofDER: bytes), Self.read(&rest, tag: 0x30) != nil,
            Self.read(&rest, tag: 0x30) != nil
        else { return [] }
        for tag: UInt8 in [0x81, 0x82] where rest.first == tag { _ = Self.read(&rest, tag: tag) }
        guard var tagged = Self.read(&rest, tag: 0xa3), var extensions = Self.read(&tagged, tag: 0x30) else {
            return []
        }
        var names: [String] = []
        while var item = Self.read(&extensions, tag: 0x30) {
            // 2.5.29.17, the alternative names.
            guard let type = Self.read(&item, tag: 0x06), type.elementsEqual([0x55, 0x1d, 0x11]) else { continue }
            if item.first == 0x01 { _ = Self.read(&item, tag: 0x01) }
            guard var value = Self.read(&item, tag: 0x04), var list = Self.read(&value, tag: 0x30) else { return [] }
            while let tag = list.first, let name = Self.read(&list, tag: tag) {
                // A DNS name, in plain ASCII.
                guard tag == 0x82, !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { continue }
                names.append(String(decoding: name, as: UTF8.self))
            }
        }
        return names
    }

    /// Returns the last, most specific common name, or `nil` if there is none or its bytes are not plain text.
    static func commonName(ofDER bytes: [UInt8]) -> String? {
        guard var toBeSigned = Self.fromSubject(ofDER: bytes), var subject = Self.read(&toBeSigned, tag: 0x30) else {
            return nil
        }
        var found: String?
        while var set = Self.read(&subject, tag: 0x31) {
            while var attribute = Self.read(&set, tag: 0x30) {
                guard let type = Self.read(&attribute, tag: 0x06) else { return nil }
                // 2.5.4.3, as a UTF8String, a PrintableString or an IA5String.
                guard type.elementsEqual([0x55, 0x04, 0x03]), let tag = attribute.first else { continue }
                guard [0x0c, 0x13, 0x16].contains(tag), let value = Self.read(&attribute, tag: tag),
                    !value.isEmpty, !value.contains(0)
                else { return nil }
                found = String(validating: value, as: UTF8.self)
            }
        }
        return found
    }

    private static func read(_ bytes: inout ArraySlice<UInt8>, tag: UInt8) -> ArraySlice<UInt8>? {
        guard bytes.popFirst() == tag, let first = bytes.popFirst() else { return nil }
        var length = Int(first)
        if first >= 0x80 {
            let width = Int(first & 0x7f)
            guard (1...3).contains(width), bytes.count >= width else { return nil }
            length = bytes.prefix(width).reduce(0) { $0 << 8 | Int($1) }
            bytes = bytes.dropFirst(width)
        }
        guard bytes.count >= length else { return nil }
        defer { bytes = bytes.dropFirst(length) }
        return bytes.prefix(length)
    }
}
