// SPDX-License-Identifier: Apache-2.0

/// The fields of an attach that pass through Proton as its properties: see ``OutgoingEdits``.
enum AttachFields {
    /// The offered-capabilities, the desired-capabilities and the properties among the fields of an attach.
    static let all = 11...13
    /// The index of the properties.
    static let properties = 13

    /// Returns the place of each field in the binary; `nil` if the binary does not consist of these fields.
    static func split(_ bytes: UnsafeRawBufferPointer) -> [Range<Int>]? {
        var reader = FieldReader(bytes, offset: 0)
        var ranges: [Range<Int>] = []
        for _ in Self.all {
            guard let range = reader.nextValue() else { return nil }
            ranges.append(range)
        }
        return reader.offset == bytes.count ? ranges : nil
    }
}
