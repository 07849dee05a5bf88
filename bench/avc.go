package main

import "encoding/binary"

// The picture: grey, of the smallest size that no player finds odd. Its real
// content takes some 70 bytes; what fills a frame up to its size is SEI user
// data, which every decoder skips, so the stream is valid H.264 throughout.
const (
	widthMBs, heightMBs = 10, 6 // 160x96 in macroblocks of 16x16
	width, height       = 16 * widthMBs, 16 * heightMBs
	levelIDC            = 30
	profileIDC          = 66 // baseline
	constraints         = 0xc0
	frameNumBits        = 4
)

// NAL unit headers: type and nal_ref_idc (H.264 table 7-1).
const (
	nalSlice = 0x41
	nalIDR   = 0x65
	nalSEI   = 0x06
	nalSPS   = 0x67
	nalPPS   = 0x68

	seiUserData = 5    // user_data_unregistered (§D.1.7): a UUID, then anything
	seiEnd      = 0x80 // rbsp_trailing_bits
)

// FLV video tag head: AVC, a whole access unit, composition time 0 (FLV E.4.3).
var (
	keyHead   = []byte{0x17, 1, 0, 0, 0}
	interHead = []byte{0x27, 1, 0, 0, 0}
)

// seiID is the UUID of our user data. It is free of zeros, as all of our SEI
// is: then no emulation prevention bytes are due, and sizes are what they seem.
var seiID = []byte("srs/bench stamp.")

// avcHeader is the video sequence header: AVCDecoderConfigurationRecord
// (ISO 14496-15 §5.2.4.1) with our SPS and PPS.
var avcHeader = func() []byte {
	sps, pps := appendNAL(nil, nalSPS, spsBits()), appendNAL(nil, nalPPS, ppsBits())
	b := []byte{0x17, 0, 0, 0, 0, 1, profileIDC, constraints, levelIDC, 0xff, 0xe1}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(sps))), sps...)
	b = append(b, 1)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(pps))), pps...)
}()

// Slices, made once. Frame numbers go round modulo 16; idr_pic_id must differ
// between keyframes that follow each other.
var (
	idrSlices   = [2][]byte{idrSlice(0), idrSlice(1)}
	interSlices = func() (all [1 << frameNumBits][]byte) {
		for i := range all {
			all[i] = interSlice(uint32(i))
		}
		return all
	}()
)

func spsBits() []byte { // §7.3.2.1.1
	var w bitWriter
	w.u(8, profileIDC)
	w.u(8, constraints)
	w.u(8, levelIDC)
	w.ue(0)                // seq_parameter_set_id
	w.ue(frameNumBits - 4) // log2_max_frame_num_minus4
	w.ue(2)                // pic_order_cnt_type: output in decoding order
	w.ue(1)                // max_num_ref_frames
	w.u(1, 0)              // gaps_in_frame_num_value_allowed_flag
	w.ue(widthMBs - 1)
	w.ue(heightMBs - 1)
	w.u(1, 1) // frame_mbs_only_flag
	w.u(1, 1) // direct_8x8_inference_flag
	w.u(1, 0) // frame_cropping_flag
	w.u(1, 0) // vui_parameters_present_flag
	return w.end()
}

func ppsBits() []byte { // §7.3.2.2
	var w bitWriter
	w.ue(0)   // pic_parameter_set_id
	w.ue(0)   // seq_parameter_set_id
	w.u(1, 0) // entropy_coding_mode_flag: CAVLC
	w.u(1, 0) // bottom_field_pic_order_in_frame_present_flag
	w.ue(0)   // num_slice_groups_minus1
	w.ue(0)   // num_ref_idx_l0_default_active_minus1
	w.ue(0)   // num_ref_idx_l1_default_active_minus1
	w.u(3, 0) // weighted_pred_flag, weighted_bipred_idc
	w.ue(0)   // pic_init_qp_minus26
	w.ue(0)   // pic_init_qs_minus26
	w.ue(0)   // chroma_qp_index_offset
	w.u(3, 0) // deblocking control, constrained intra, redundant pictures
	return w.end()
}

// idrSlice is a keyframe: every macroblock predicts its mean from its
// neighbours and adds nothing, which makes all of them mid-grey.
func idrSlice(id uint32) []byte {
	var w bitWriter
	w.ue(0)              // first_mb_in_slice
	w.ue(7)              // slice_type I, in all of the picture
	w.ue(0)              // pic_parameter_set_id
	w.u(frameNumBits, 0) // frame_num
	w.ue(id)             // idr_pic_id
	w.u(2, 0)            // no_output_of_prior_pics_flag, long_term_reference_flag
	w.ue(0)              // slice_qp_delta
	for range widthMBs * heightMBs {
		w.ue(3)   // mb_type I_16x16_2_0_0
		w.ue(0)   // intra_chroma_pred_mode
		w.ue(0)   // mb_qp_delta
		w.u(1, 1) // coeff_token: no coefficients
	}
	return appendNAL(nil, nalIDR, w.end())
}

// interSlice is a frame equal to the one before it: all macroblocks skipped.
func interSlice(frameNum uint32) []byte {
	var w bitWriter
	w.ue(0) // first_mb_in_slice
	w.ue(5) // slice_type P, in all of the picture
	w.ue(0) // pic_parameter_set_id
	w.u(frameNumBits, frameNum)
	w.u(3, 0)                  // no override, no list modification, sliding window
	w.ue(0)                    // slice_qp_delta
	w.ue(widthMBs * heightMBs) // mb_skip_run
	return appendNAL(nil, nalSlice, w.end())
}

// appendNAL adds a NAL unit with emulation prevention (§7.4.1).
func appendNAL(dst []byte, head byte, rbsp []byte) []byte {
	dst = append(dst, head)
	zeros := 0
	for _, b := range rbsp {
		if zeros == 2 && b <= 3 {
			dst, zeros = append(dst, 3), 0
		}
		if dst = append(dst, b); b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return dst
}

// videoStampAt is where the stamp stands: behind the FLV head, the length and
// header of the SEI NAL unit, and the type, size and UUID of its first message.
const videoStampAt = 5 + 4 + 1 + 2 + 16

// appendVideo adds the body of a video frame of about size bytes, with room
// for the stamp: an SEI with the stamp and with noise, then the slice.
func appendVideo(dst []byte, key bool, slice, noise []byte, size int) []byte {
	head := interHead
	if key {
		head = keyHead
	}
	begin := len(dst)
	dst = append(dst, head...)
	dst = append(dst, 0, 0, 0, 0, nalSEI, seiUserData, byte(len(seiID)+stampSize))
	dst = append(dst, seiID...)
	dst = append(dst, noise[:stampSize]...) // the stamp's place
	left := size - (len(dst) - begin) - 1 - 4 - len(slice)
	// A message of n bytes takes n, its type and its size in units of 255 (§7.3.2.3.1).
	if n := (left - 2) * 255 / 256; n > len(seiID) {
		dst = append(dst, seiUserData)
		for k := n; ; k -= 255 {
			dst = append(dst, byte(min(k, 255)))
			if k < 255 {
				break
			}
		}
		dst = append(dst, seiID...)
		dst = append(dst, noise[:n-len(seiID)]...)
	}
	dst = append(dst, seiEnd)
	binary.BigEndian.PutUint32(dst[begin+5:], uint32(len(dst)-begin-9))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(slice)))
	return append(dst, slice...)
}
