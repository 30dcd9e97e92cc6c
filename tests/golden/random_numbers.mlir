module {
  "snn.graph"() {version = 1 : i64, name = "main", dt = 0.001 : f64, record_offset = 0 : i64, source = "", digest = "", notes = []} : () -> ()
  %p = "snn.input"() {node = "p", signal = !snn.analog<tensor<5xf32>>, metadata = []} : () -> !snn.analog<tensor<5xf32>>
  %u = "snn.uniform"(%p) {node = "u", seed = 7 : i64, step = 0 : i64, metadata = []} : (!snn.analog<tensor<5xf32>>) -> !snn.analog<tensor<5xf32>>
  %s = "snn.step_2_1"(%u, %p) {node = "s", dynamics = @below, params = [], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<5xf32>>, !snn.analog<tensor<5xf32>>) -> !snn.spikes<tensor<5xf32>>
  "snn.output"(%s) {name = "spikes"} : (!snn.spikes<tensor<5xf32>>) -> ()
  "snn.output"(%u) {name = "numbers"} : (!snn.analog<tensor<5xf32>>) -> ()
  module @below {
    "snn.program"() {name = "below", dtype = "f32"} : () -> ()
    %below.u = "snn.program_input"() {name = "u"} : () -> f32
    %below.p = "snn.program_input"() {name = "p"} : () -> f32
    %below.t0 = "snn.scalar_le"(%below.u, %below.p) {name = "t0"} : (f32, f32) -> i1
    %below.t1 = "snn.scalar_cast"(%below.t0) {name = "t1"} : (i1) -> f32
    "snn.program_emit"(%below.t1) {kind = "spikes"} : (f32) -> ()
  }
}
