package pg

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// Parameters of the hot path are arrays: one for each column, with an element for each row. pgx asks anew, by reflection,
// how to encode every element; a twentieth of all CPU time of a saga and a sixth of its allocations were spent on that. An
// arrayCodec writes the slices below as PostgreSQL reads them, and leaves every other type to pgx. A test holds both to be
// the same, byte for byte.
type arrayCodec struct {
	*pgtype.ArrayCodec
	plan func(value any) pgtype.EncodePlan
}

// PlanEncode implements pgtype.Codec.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		if plan := c.plan(value); plan != nil {
			return plan
		}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// elements encodes a []T. put appends one element, or says that it is null.
type elements[T any] struct {
	oid uint32
	put func(buf []byte, v T) (_ []byte, null bool)
}

// Encode implements pgtype.EncodePlan. A nil slice is null, as everywhere in pgx.
func (e elements[T]) Encode(value any, buf []byte) ([]byte, error) {
	list := value.([]T) //nolint:forcetypeassert // pgx encodes what it planned for
	if list == nil {
		return nil, nil
	}
	buf = binary.BigEndian.AppendUint32(buf, 1) // dimension
	nulls := len(buf)
	buf = binary.BigEndian.AppendUint32(buf, 0)
	buf = binary.BigEndian.AppendUint32(buf, e.oid)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(list)))
	buf = binary.BigEndian.AppendUint32(buf, 1) // the first index
	for i, v := range list {
		at := len(buf)
		after, null := e.put(append(buf, 0, 0, 0, 0), v)
		if null {
			buf = binary.BigEndian.AppendUint32(buf, ^uint32(0))
			binary.BigEndian.PutUint32(buf[nulls:], 1)
		} else {
			buf = after
			binary.BigEndian.PutUint32(buf[at:], uint32(len(buf)-at-4))
		}
		// The rows of a statement are much alike. All its parameters go into this buffer, which starts small with every
		// statement: if it has to grow, then for the next ones too.
		if more := (len(list) - 1) * (len(buf) - at); i == 0 && more > cap(buf)-len(buf) {
			buf = slices.Grow(buf, max(more, 3*len(buf)))
		}
	}
	return buf, nil
}

// registerArrays makes the map encode slices of the types below by itself.
func registerArrays(m *pgtype.Map) {
	register(m, pgtype.UUIDOID, func(buf []byte, v uuid.UUID) ([]byte, bool) { return append(buf, v[:]...), false })
	register(m, pgtype.TextOID, func(buf []byte, v string) ([]byte, bool) { return append(buf, v...), false })
	register(m, pgtype.ByteaOID, func(buf []byte, v []byte) ([]byte, bool) { return append(buf, v...), v == nil })
	register(m, pgtype.Int2OID, func(buf []byte, v int16) ([]byte, bool) {
		return binary.BigEndian.AppendUint16(buf, uint16(v)), false
	})
	register(m, pgtype.Int4OID, func(buf []byte, v int32) ([]byte, bool) {
		return binary.BigEndian.AppendUint32(buf, uint32(v)), false
	})
	register(m, pgtype.Int8OID, func(buf []byte, v int64) ([]byte, bool) {
		return binary.BigEndian.AppendUint64(buf, uint64(v)), false
	})
	register(m, pgtype.TimestamptzOID, func(buf []byte, v *time.Time) ([]byte, bool) {
		if v == nil {
			return buf, true
		}
		return appendTime(buf, *v), false
	})
}

// register has slices of T encoded by put where the parameter is an array of that type.
func register[T any](m *pgtype.Map, oid uint32, put func(buf []byte, v T) ([]byte, bool)) {
	element, _ := m.TypeForOID(oid)
	array, _ := m.TypeForName("_" + element.Name)
	m.RegisterType(&pgtype.Type{
		Name: array.Name, OID: array.OID,
		Codec: arrayCodec{
			ArrayCodec: &pgtype.ArrayCodec{ElementType: element},
			plan: func(value any) pgtype.EncodePlan {
				if _, ok := value.([]T); ok {
					return elements[T]{oid, put}
				}
				return nil
			},
		},
	})
}

// y2k is the zero of PostgreSQL's timestamps, in microseconds.
var y2k = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func appendTime(buf []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(buf, uint64(t.UnixMicro()-y2k))
}
