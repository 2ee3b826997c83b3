// SPDX-License-Identifier: Apache-2.0

extension FrameObserver {
    /// Reports a frame of this side that is larger than the peer accepts, and an open that a peer need not accept.
    func check(_ frame: FrameHeader, ofSize size: Int) {
        guard size > FrameLimit.least, let onLargeFrame = self.onLargeFrame else { return }
        switch frame {
        case .open: onLargeFrame(size, true)
        case .transfer: break
        default: if size > self.peerMaxFrameSize { onLargeFrame(size, false) }
        }
    }
}
