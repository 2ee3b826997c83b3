// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The translation of settle modes between Swift and Proton.
enum ProtonSettleMode {
    static func sender(_ mode: pn_snd_settle_mode_t) -> AMQPSenderSettleMode {
        switch mode {
        case PN_SND_UNSETTLED: .unsettled
        case PN_SND_SETTLED: .settled
        default: .mixed
        }
    }

    static func sender(_ mode: AMQPSenderSettleMode) -> pn_snd_settle_mode_t {
        switch mode {
        case .unsettled: PN_SND_UNSETTLED
        case .settled: PN_SND_SETTLED
        case .mixed: PN_SND_MIXED
        }
    }

    static func receiver(_ mode: pn_rcv_settle_mode_t) -> AMQPReceiverSettleMode {
        mode == PN_RCV_SECOND ? .second : .first
    }

    static func receiver(_ mode: AMQPReceiverSettleMode) -> pn_rcv_settle_mode_t {
        mode == .second ? PN_RCV_SECOND : PN_RCV_FIRST
    }
}
