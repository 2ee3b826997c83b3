// SPDX-License-Identifier: Apache-2.0

/// The sizes that a peer sets for the frames of this side. Source: AMQP 1.0 §2.4.1 and §2.7.1.
enum FrameLimit {
    /// The frame size that every peer accepts, in bytes: the minimum max-frame-size, and the limit until the peer has
    /// opened the connection.
    static let least = 512
    /// The maximum number of bytes in a frame besides its error; the longest such frame is a disposition.
    static let aroundError = 48
}

extension AMQPError {
    private static let cutMark = "… (shortened)"
    private static let infoMark = " (info left out)"

    /// Returns the error, shortened if necessary, so that it fits into a frame of the peer's size.
    ///
    /// A long text is cut between two characters and marked. The info map stays if a shorter text makes room for it.
    /// Otherwise the map is omitted, and a mark in the text reports the omission.
    ///
    /// - Parameter frameSize: The peer's max-frame-size, in bytes.
    func fitted(to frameSize: Int) -> AMQPError {
        let room = frameSize - FrameLimit.aroundError
        guard self.encodedBound > room else { return self }
        var error = self
        error.detail = ""
        var note = ""
        if error.encodedBound + Self.cutMark.utf8.count > room {
            if !error.info.isEmpty { note = Self.infoMark }
            error.info = [:]
        }
        // A cut symbol would be a different condition, so the condition is replaced.
        if error.encodedBound + Self.cutMark.utf8.count + note.utf8.count > room { error.condition = .internalError }
        let left = max(0, room - error.encodedBound - note.utf8.count)
        error.detail = (self.detail.utf8.count <= left ? self.detail : Self.cut(self.detail, to: left)) + note
        return error
    }

    private static func cut(_ text: String, to count: Int) -> String {
        let bytes = text.utf8
        var end = bytes.index(bytes.startIndex, offsetBy: max(0, count - Self.cutMark.utf8.count))
        // The cut must not split a Unicode scalar.
        while end > bytes.startIndex, end.samePosition(in: text.unicodeScalars) == nil {
            end = bytes.index(before: end)
        }
        return String(text.unicodeScalars[..<end]) + Self.cutMark
    }

    /// The maximum encoded size of the error in bytes, as the described list of §2.8.14.
    private var encodedBound: Int {
        var size = EncodedSize()
        // The terms: the descriptor, the list, and the sizes of the symbol and the text.
        size.add(bytes: 3 + 9 + 5 + 5 + self.condition.rawValue.utf8.count + self.detail.utf8.count)
        guard !self.info.isEmpty else { return size.bytes + 1 }
        // A map that cannot be encoded is omitted.
        do { try size.add(self.info) } catch { return .max / 2 }
        return size.bytes
    }
}
