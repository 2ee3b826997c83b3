// SPDX-License-Identifier: Apache-2.0

import NIOCore
import TestSupport

@testable import QpidProton

/// The frames with which a peer opens a session with both links of ``FuzzApplication``.
enum FuzzDialogue {
    static let header = ByteBuffer(bytes: [0x41, 0x4D, 0x51, 0x50, 0, 1, 0, 0])
    static let open = Frame(.open, [.string("peer"), .null, .uint(65_536), .ushort(100)])
    static let begin = Frame(.begin, [.ushort(0), .uint(0), .uint(2_048), .uint(2_048)])
    /// The attach of the link that sends to the receiver.
    static let sending = Frame(
        .attach,
        [
            .string("receiver"), .uint(0), .bool(false), .null, .null, .described(0x28, .list([.string("q")])),
            .described(0x29, .list([.string("q")])), .null, .null, .uint(0),
        ]
    )
    /// The attach of the link that receives from the sender.
    static let receiving = Frame(
        .attach,
        [
            .string("sender"), .uint(1), .bool(true), .null, .null, .described(0x28, .list([.string("q")])),
            .described(0x29, .list([.string("q")])),
        ]
    )
    static let credit = Frame(
        .flow,
        [.uint(0), .uint(2_048), .uint(0), .uint(2_048), .uint(1), .uint(0), .uint(100)]
    )

    static func opening() throws -> [ByteBuffer] {
        [Self.header]
            + (try [Self.open, Self.begin, Self.sending, Self.receiving, Self.credit].map { try $0.encoded() })
    }
}
