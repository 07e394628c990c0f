// Command imports writes all that proto/a2a.proto imports to standard output, as a descriptor set for protoc. Go
// packages have those files compiled in, pinned by go.mod like any other: no copy of googleapis is needed.
package main

import (
	"fmt"
	"os"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var imports = []protoreflect.FileDescriptor{
	annotations.File_google_api_annotations_proto,
	annotations.File_google_api_client_proto,
	annotations.File_google_api_field_behavior_proto,
	emptypb.File_google_protobuf_empty_proto,
	structpb.File_google_protobuf_struct_proto,
	timestamppb.File_google_protobuf_timestamp_proto,
}

func main() {
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range imports {
		add(set, file)
	}
	bytes, err := proto.Marshal(set)
	if err == nil {
		_, err = os.Stdout.Write(bytes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// add puts a file into the set, once, after those that it imports itself.
func add(set *descriptorpb.FileDescriptorSet, file protoreflect.FileDescriptor) {
	for _, there := range set.File {
		if there.GetName() == file.Path() {
			return
		}
	}
	for i := range file.Imports().Len() {
		add(set, file.Imports().Get(i).FileDescriptor)
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
}
